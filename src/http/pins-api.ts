/** /api/pins: what `slipway approve` does, for those with the scope `admin`. */
import { Router } from 'express';
import { SlipwayError } from '../errors.ts';
import type { Pins } from '../pool/pins.ts';
import type { PinStore } from '../store/contract.ts';
import type { DoAct } from './audited-acts.ts';
import { readJsonBody } from './body.ts';
import { approvePins, describeApproval, forgetPins, listPins } from './pin-admin.ts';

export interface PinsApiDependencies {
	readonly store: PinStore;
	/** Told of what was changed here. */
	readonly pins: Pins;
	readonly act: DoAct;
}

export function pinsApi({ store, pins, act }: PinsApiDependencies): Router {
	const router = Router();
	const reloaded = <Result>(result: Result): Result => {
		pins.reload();
		return result;
	};
	router.get('/', (_, response) => {
		response.json({ pins: listPins(store) });
	});
	router.get('/:server', (request, response) => {
		response.json({ pins: listPins(store, request.params.server) });
	});
	router.post('/approve', async (request, response) => {
		const { value } = await readJsonBody(request);
		const approved = act(request, {
			event: 'approval',
			describe: (tools?: readonly string[]) => describeApproval('approve', value, tools),
			run: () => reloaded(approvePins(store, value)),
		});
		response.json({ approved });
	});
	router.delete('/:server', (request, response) => {
		const { server } = request.params;
		act(request, {
			event: 'approval',
			describe: () => describeApproval('forget', { server }),
			run: () => reloaded(forgetPins(store, server)),
		});
		response.status(204).end();
	});
	router.use((request) => {
		const known = /^\/[^/]*$/.test(request.path);
		throw new SlipwayError(known ? 'SLIPWAY_METHOD_NOT_ALLOWED' : 'SLIPWAY_PATH_UNKNOWN');
	});
	return router;
}
