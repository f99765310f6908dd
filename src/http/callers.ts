/** What there is of callers: the sessions of the first era, the conversations of the second, and who holds what. */
import type { Conversations } from './conversations.ts';
import type { Sessions } from './sessions.ts';
import type { Tenants } from './tenants.ts';

export interface Callers {
	readonly sessions: Sessions;
	readonly conversations: Conversations;
	readonly tenants: Tenants;
}
