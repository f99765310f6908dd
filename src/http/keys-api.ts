/** /api/keys: what `slipway keys` does, for those with the scope `admin`. */
import type { Request } from 'express';
import type { KeyStore } from '../store/contract.ts';
import { type ApiRoute, jsonRoute } from './api-route.ts';
import type { DoAct } from './audited-acts.ts';
import { readJsonBody } from './body.ts';
import {
	createKey,
	describeKey,
	keysTold,
	listKeys,
	madeKeyTold,
	newKeySchema,
	revokeKey,
	rotateKey,
} from './key-admin.ts';
import type { KeyRing } from './keys.ts';

export interface KeysApiDependencies {
	readonly store: KeyStore;
	/** Told of what was changed here. */
	readonly ring: KeyRing;
	readonly act: DoAct;
}

export function keysApi({ store, ring, act }: KeysApiDependencies): ApiRoute[] {
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
	return [
		jsonRoute({
			method: 'get',
			path: '/api/keys',
			summary: 'The keys that there are; never a key itself.',
			says: 'All of them.',
			told: keysTold,
			handle: () => ({ keys: listKeys(store) }),
		}),
		jsonRoute({
			method: 'post',
			path: '/api/keys',
			summary: 'Makes a key.',
			body: newKeySchema,
			status: 201,
			says: 'The key, told this once.',
			told: madeKeyTold,
			errors: ['SLIPWAY_KEY_INVALID', 'SLIPWAY_KEY_EXISTS', 'SLIPWAY_KEYS_FULL', 'SLIPWAY_AUDIT_FAILED'],
			handle: async ({ request }) => {
				const { value } = await readJsonBody(request);
				return doTo(request, 'create', undefined, () => createKey(store, value));
			},
		}),
		jsonRoute({
			method: 'post',
			path: '/api/keys/{name}/rotate',
			summary: 'Makes another key for the same caller; the one that it had is worth nothing from then on.',
			says: 'The key, told this once.',
			told: madeKeyTold,
			errors: ['SLIPWAY_KEY_UNKNOWN', 'SLIPWAY_AUDIT_FAILED'],
			handle: ({ request, params: { name = '' } }) => doTo(request, 'rotate', name, () => rotateKey(store, name)),
		}),
		{
			method: 'delete',
			path: '/api/keys/{name}',
			summary: 'Revokes a key: it is worth nothing from then on, and what it has open ends.',
			answers: [{ status: 204, says: 'It is revoked.' }],
			errors: ['SLIPWAY_KEY_UNKNOWN', 'SLIPWAY_AUDIT_FAILED'],
			handle: ({ request, params: { name = '' } }) => doTo(request, 'revoke', name, () => revokeKey(store, name)),
		},
	];
}
