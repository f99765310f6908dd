import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import { type Authenticator, OPEN_TO_ALL, openKeys } from '../../src/http/keys.ts';
import type { KeyStore } from '../../src/store/contract.ts';

function memoryStore(): KeyStore & { readonly hashes: Map<string, string> } {
	const hashes = new Map<string, string>();
	return {
		hashes,
		findKeyHash: (principal) => hashes.get(principal),
		saveKeyHash: (principal, hash) => void hashes.set(principal, hash),
	};
}

const present = (authenticator: Authenticator, authorization?: string): string =>
	authenticator.authenticate({ headers: { authorization } } as unknown as IncomingMessage).id;

describe('openKeys', () => {
	test('makes a key once, and keeps its SHA-256 alone', () => {
		const store = memoryStore();
		const first = openKeys(undefined, store);
		assert.ok(first.made !== undefined);
		assert.deepEqual([...store.hashes.values()], [createHash('sha256').update(first.made).digest('hex')]);
		assert.equal(present(first.authenticator, `Bearer ${first.made}`), 'operator');
		const second = openKeys(undefined, store);
		assert.equal(second.made, undefined);
		assert.equal(present(second.authenticator, `Bearer ${first.made}`), 'operator');
		assert.notEqual(openKeys(undefined, memoryStore()).made, first.made);
	});

	test('with a configured key takes that alone, and stores nothing', () => {
		const store = memoryStore();
		const { authenticator, made } = openKeys('configured-key-0123', store);
		assert.equal(made, undefined);
		assert.equal(store.hashes.size, 0);
		assert.equal(present(authenticator, 'Bearer configured-key-0123'), 'operator');
		for (const wrong of [
			undefined,
			'',
			'Bearer',
			'Bearer  ',
			'Bearer x',
			'Bearer configured-key-0124',
			'Basic configured-key-0123',
			'x Bearer configured-key-0123',
			'Bearer configured-key-0123, Bearer x',
		])
			assert.throws(() => present(authenticator, wrong), { code: 'SLIPWAY_UNAUTHENTICATED' }, String(wrong));
	});
});

test('with authentication off everybody is one caller', () => {
	assert.equal(present(OPEN_TO_ALL), present(OPEN_TO_ALL, 'Bearer anything'));
});
