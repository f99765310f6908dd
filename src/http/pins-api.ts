/** /api/pins: what `slipway approve` does, for those with the scope `admin`. */
import { Router } from 'express';
import { SlipwayError } from '../errors.ts';
import type { Pins } from '../pool/pins.ts';
import type { PinStore } from '../store/contract.ts';
import { readJsonBody } from './body.ts';
import { approvePins, forgetPins, listPins } from './pin-admin.ts';

export interface PinsApiDependencies {
	readonly store: PinStore;
	/** Told of what was changed here. */
	readonly pins: Pins;
}

export function pinsApi({ store, pins }: PinsApiDependencies): Router {
	const router = Router();
	router.get('/', (_, response) => {
		response.json({ pins: listPins(store) });
	});
	router.get('/:server', (request, response) => {
		response.json({ pins: listPins(store, request.params.server) });
	});
	router.post('/approve', async (request, response) => {
		const { value } = await readJsonBody(request);
		const approved = approvePins(store, value);
		pins.reload();
		response.json({ approved });
	});
	router.delete('/:server', (request, response) => {
		forgetPins(store, request.params.server);
		pins.reload();
		response.status(204).end();
	});
	router.use((request) => {
		const known = /^\/[^/]*$/.test(request.path);
		throw new SlipwayError(known ? 'SLIPWAY_METHOD_NOT_ALLOWED' : 'SLIPWAY_PATH_UNKNOWN');
	});
	return router;
}
