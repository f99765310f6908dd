/** /api/pins: what `slipway approve` does, for those with the scope `admin`. */
import { z } from 'zod';
import type { Pins } from '../pool/pins.ts';
import type { PinStore } from '../store/contract.ts';
import { type ApiRoute, jsonRoute } from './api-route.ts';
import type { DoAct } from './audited-acts.ts';
import { readJsonBody } from './body.ts';
import { approvalSchema, approvePins, describeApproval, forgetPins, listPins, pinsTold } from './pin-admin.ts';

export interface PinsApiDependencies {
	readonly store: PinStore;
	/** Told of what was changed here. */
	readonly pins: Pins;
	readonly act: DoAct;
}

export function pinsApi({ store, pins, act }: PinsApiDependencies): ApiRoute[] {
	const reloaded = <Result>(result: Result): Result => {
		pins.reload();
		return result;
	};
	return [
		jsonRoute({
			method: 'get',
			path: '/api/pins',
			summary: 'The definitions of tools that are known, and how those that wait differ from what was approved.',
			says: 'Those of all servers.',
			told: pinsTold,
			handle: () => ({ pins: listPins(store) }),
		}),
		jsonRoute({
			method: 'get',
			path: '/api/pins/{server}',
			summary: 'The same of one server.',
			says: 'None where nothing is known of it.',
			told: pinsTold,
			handle: ({ params }) => ({ pins: listPins(store, params['server']) }),
		}),
		jsonRoute({
			method: 'post',
			path: '/api/pins/approve',
			summary: 'Approves what waits of a server, or one tool of it.',
			body: approvalSchema,
			says: 'The names of the tools.',
			told: z.object({ approved: z.array(z.string()).readonly() }),
			errors: ['SLIPWAY_PARAMS_INVALID', 'SLIPWAY_PIN_UNKNOWN', 'SLIPWAY_PIN_REFUSED', 'SLIPWAY_AUDIT_FAILED'],
			handle: async ({ request }) => {
				const { value } = await readJsonBody(request);
				const approved = act(request, {
					event: 'approval',
					describe: (tools?: readonly string[]) => describeApproval('approve', value, tools),
					run: () => reloaded(approvePins(store, value)),
				});
				return { approved };
			},
		}),
		{
			method: 'delete',
			path: '/api/pins/{server}',
			summary: 'Forgets what was approved of a server: what it says next is taken for the first.',
			answers: [{ status: 204, says: 'It is forgotten.' }],
			errors: ['SLIPWAY_PIN_UNKNOWN', 'SLIPWAY_AUDIT_FAILED'],
			handle: ({ request, params: { server = '' } }) =>
				act(request, {
					event: 'approval',
					describe: () => describeApproval('forget', { server }),
					run: () => reloaded(forgetPins(store, server)),
				}),
		},
	];
}
