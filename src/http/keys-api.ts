/** /api/keys: what `slipway keys` does, for those with the scope `admin`. */
import { type Request, Router } from 'express';
import type { Audit } from '../audit/audit.ts';
import type { RecordFields } from '../audit/record.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import type { KeyStore } from '../store/contract.ts';
import { readJsonBody } from './body.ts';
import { createKey, describeKey, listKeys, revokeKey, rotateKey } from './key-admin.ts';
import type { KeyRing } from './keys.ts';

export interface KeysApiDependencies {
	readonly store: KeyStore;
	/** Told of what was changed here. */
	readonly ring: KeyRing;
	readonly audit: Audit;
	/** Who asks, for the audit. */
	readonly actorOf: (request: Request) => Pick<RecordFields, 'principal' | 'requestId' | 'client'>;
}

export function keysApi({ store, ring, audit, actorOf }: KeysApiDependencies): Router {
	const router = Router();
	/** Does something to a key, and records that, however it ends. */
	const act = <Result>(request: Request, name: string, key: string | undefined, run: () => Result): Result => {
		const record = (outcome: string, result?: Result): void =>
			audit.record('key', { act: name, ...describeKey(key, result), ...actorOf(request), outcome });
		try {
			audit.assertReady();
			const result = run();
			ring.reload();
			record('ok', result);
			return result;
		} catch (error) {
			record(toSlipwayError(error).code);
			throw error;
		}
	};
	router.get('/', (_, response) => {
		response.json({ keys: listKeys(store) });
	});
	router.post('/', async (request, response) => {
		const { value } = await readJsonBody(request);
		response.status(201).json(act(request, 'create', undefined, () => createKey(store, value)));
	});
	router.post('/:name/rotate', (request, response) => {
		const { name } = request.params;
		response.json(act(request, 'rotate', name, () => rotateKey(store, name)));
	});
	router.delete('/:name', (request, response) => {
		const { name } = request.params;
		act(request, 'revoke', name, () => revokeKey(store, name));
		response.status(204).end();
	});
	router.use((request) => {
		const known = request.path === '/' || /^\/[^/]+(?:\/rotate)?$/.test(request.path);
		throw new SlipwayError(known ? 'SLIPWAY_METHOD_NOT_ALLOWED' : 'SLIPWAY_PATH_UNKNOWN');
	});
	return router;
}
