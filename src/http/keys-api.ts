/** /api/keys: what `slipway keys` does, for those with the scope `admin`. */
import { Router } from 'express';
import { SlipwayError } from '../errors.ts';
import type { KeyStore } from '../store/contract.ts';
import { readJsonBody } from './body.ts';
import { createKey, listKeys, revokeKey, rotateKey } from './key-admin.ts';
import type { KeyRing } from './keys.ts';

export interface KeysApiDependencies {
	readonly store: KeyStore;
	/** Told of what was changed here. */
	readonly ring: KeyRing;
}

export function keysApi({ store, ring }: KeysApiDependencies): Router {
	const router = Router();
	router.get('/', (_, response) => {
		response.json({ keys: listKeys(store) });
	});
	router.post('/', async (request, response) => {
		const { value } = await readJsonBody(request);
		const made = createKey(store, value);
		ring.reload();
		response.status(201).json(made);
	});
	router.post('/:name/rotate', (request, response) => {
		const made = rotateKey(store, request.params.name);
		ring.reload();
		response.json(made);
	});
	router.delete('/:name', (request, response) => {
		revokeKey(store, request.params.name);
		ring.reload();
		response.status(204).end();
	});
	router.use((request) => {
		const known = request.path === '/' || /^\/[^/]+(?:\/rotate)?$/.test(request.path);
		throw new SlipwayError(known ? 'SLIPWAY_METHOD_NOT_ALLOWED' : 'SLIPWAY_PATH_UNKNOWN');
	});
	return router;
}
