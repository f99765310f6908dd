/** /api/sessions: the conversations of clients that have such, and the end of one. */
import type { ApiRoute } from './api-route.ts';
import { jsonRoute } from './api-route.ts';
import type { DoAct } from './audited-acts.ts';
import type { Sessions } from './sessions.ts';
import { sessionsTold } from './told.ts';

export function sessionsApi(sessions: Sessions, act: DoAct): ApiRoute[] {
	return [
		jsonRoute({
			method: 'get',
			path: '/api/sessions',
			summary: 'The sessions of clients of revisions that have such, as this process has them.',
			says: 'All of them, the oldest first.',
			told: sessionsTold,
			handle: () => ({ sessions: sessions.views() }),
		}),
		{
			method: 'delete',
			path: '/api/sessions/{session}',
			summary: 'Ends one; its client is told to begin another with its next request.',
			answers: [{ status: 204, says: 'It ends.' }],
			errors: ['SLIPWAY_SESSION_UNKNOWN'],
			handle: ({ request, params }) => {
				const session = sessions.findMarked(params['session'] ?? '');
				act(request, {
					event: 'session',
					describe: () => ({ act: 'end', session: session.mark, server: session.target.name }),
					run: () => void session.end('prompt'),
				});
			},
		},
	];
}
