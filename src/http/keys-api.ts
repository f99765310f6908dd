/** /api/keys: what `slipway keys` does, for those with the scope `admin`. */
import { type Request, Router } from 'express';
import { SlipwayError } from '../errors.ts';
import type { KeyStore } from '../store/contract.ts';
import type { DoAct } from './audited-acts.ts';
import { readJsonBody } from './body.ts';
import { createKey, describeKey, listKeys, revokeKey, rotateKey } from './key-admin.ts';
import type { KeyRing } from './keys.ts';

export interface KeysApiDependencies {
	readonly store: KeyStore;
	/** Told of what was changed here. */
	readonly ring: KeyRing;
	readonly act: DoAct;
}

export function keysApi({ store, ring, act }: KeysApiDependencies): Router {
	const router = Router();
	const doTo = <Result>(request: Request, name: string, key: string | undefined, run: () => Result): Result =>
		act(request, {
			event: 'key',
			describe: (result?: Result) => ({ act: name, ...describeKey(key, result) }),
			run: () => {
				const result = run();
				ring.reload();
				return result;
			},
		});
	router.get('/', (_, response) => {
		response.json({ keys: listKeys(store) });
	});
	router.post('/', async (request, response) => {
		const { value } = await readJsonBody(request);
		response.status(201).json(doTo(request, 'create', undefined, () => createKey(store, value)));
	});
	router.post('/:name/rotate', (request, response) => {
		const { name } = request.params;
		response.json(doTo(request, 'rotate', name, () => rotateKey(store, name)));
	});
	router.delete('/:name', (request, response) => {
		const { name } = request.params;
		doTo(request, 'revoke', name, () => revokeKey(store, name));
		response.status(204).end();
	});
	router.use((request) => {
		const known = request.path === '/' || /^\/[^/]+(?:\/rotate)?$/.test(request.path);
		throw new SlipwayError(known ? 'SLIPWAY_METHOD_NOT_ALLOWED' : 'SLIPWAY_PATH_UNKNOWN');
	});
	return router;
}
