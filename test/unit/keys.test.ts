import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { createKey, listKeys, revokeKey, rotateKey } from '../../src/http/key-admin.ts';
import { KeyRing, makeFirstKey, OPEN_TO_ALL } from '../../src/http/keys.ts';
import type { Authenticator, Principal } from '../../src/http/principal.ts';
import { POLICY_LIMITS } from '../../src/limits.ts';
import type { KeyStore, StoredKey } from '../../src/store/contract.ts';

/** A store that another process may change too. */
function memoryStore(): KeyStore & { readonly keys: Map<string, StoredKey>; changedElsewhere(): void } {
	const keys = new Map<string, StoredKey>();
	let version = 1;
	return {
		keys,
		changedElsewhere: () => {
			version += 1;
		},
		listKeys: () => [...keys.values()],
		saveKey: (key) => void keys.set(key.name, key),
		deleteKey: (name) => keys.delete(name),
		keysVersion: () => version,
	};
}

function present(authenticator: Authenticator, authorization?: string): Principal {
	const principal = authenticator.authenticate({ headers: { authorization } } as unknown as IncomingMessage);
	assert.ok(!(principal instanceof Promise));
	return principal;
}

/** A ring, and what it told of changes. */
function ringOf(store: KeyStore, configured?: string) {
	const ring = new KeyRing(configured, store);
	const changes: string[] = [];
	ring.onChange = (principal, what) => void changes.push(`${principal} ${what}`);
	return { ring, changes, by: (key: string): Principal => present(ring, `Bearer ${key}`) };
}

const refused = { code: 'SLIPWAY_UNAUTHENTICATED' };
const ci = { name: 'ci', scopes: ['server:memory'] };

describe('the first key', () => {
	test('is made once, and its SHA-256 alone is kept', () => {
		const store = memoryStore();
		const made = makeFirstKey(undefined, store);
		assert.ok(made !== undefined);
		assert.deepEqual(
			[...store.keys.values()].map(({ hash }) => hash),
			[createHash('sha256').update(made).digest('hex')],
		);
		const { id, access } = ringOf(store).by(made);
		assert.equal(id, 'operator');
		assert.deepEqual(access.scopes, ['*', 'admin']);
		assert.equal(makeFirstKey(undefined, store), undefined);
		assert.notEqual(makeFirstKey(undefined, memoryStore()), made);
	});

	test('of the configuration takes the place of the stored one, beside those of others', () => {
		const store = memoryStore();
		const stored = makeFirstKey(undefined, store) ?? '';
		const { key } = createKey(store, ci);
		const { ring, by } = ringOf(store, 'configured-key-0123');
		assert.equal(makeFirstKey('configured-key-0123', memoryStore()), undefined);
		assert.equal(by('configured-key-0123').id, 'operator');
		assert.equal(by(key).id, 'key:ci');
		assert.throws(() => by(stored), refused);
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
			assert.throws(() => present(ring, wrong), refused, String(wrong));
	});
});

describe('keys', () => {
	test('are told once, and never again', () => {
		const store = memoryStore();
		const { key, ...view } = createKey(store, { ...ci, expiresAt: '2999-01-31T00:00:00Z' });
		assert.match(key, /^slipway_[\w-]{43}$/);
		assert.deepEqual(listKeys(store), [view]);
		assert.deepEqual(Object.keys(view).sort(), ['createdAt', 'expiresAt', 'name', 'scopes']);
		assert.doesNotMatch(JSON.stringify([...store.keys.values()]), new RegExp(key));
	});

	test('that another process makes, rotates and revokes are known at the next look', () => {
		const store = memoryStore();
		const { ring, changes, by } = ringOf(store);
		const { key } = createKey(store, ci);
		assert.throws(() => by(key), refused, 'nobody has looked yet');
		store.changedElsewhere();
		ring.refresh();
		assert.equal(by(key).id, 'key:ci');
		assert.deepEqual(changes, []);
		const next = rotateKey(store, 'ci').key;
		store.changedElsewhere();
		ring.refresh();
		assert.throws(() => by(key), refused);
		assert.deepEqual(by(next).access.scopes, ['server:memory']);
		assert.deepEqual(changes.splice(0), ['key:ci changed']);
		revokeKey(store, 'ci');
		store.changedElsewhere();
		ring.refresh();
		assert.throws(() => by(next), refused);
		assert.deepEqual(changes, ['key:ci gone']);
	});

	test('are as they were while the store cannot be read', () => {
		const store = memoryStore();
		const { key } = createKey(store, ci);
		const { ring, by } = ringOf(store);
		store.keysVersion = () => Number.NaN;
		store.listKeys = () => assert.fail('it was read');
		ring.refresh();
		assert.equal(by(key).id, 'key:ci');
	});

	test('are worth nothing from their time on, and that is told', (t: TestContext) => {
		t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 0) });
		const store = memoryStore();
		const { key } = createKey(store, { ...ci, expiresAt: '2026-01-01T00:00:10Z' });
		const { ring, changes, by } = ringOf(store);
		t.mock.timers.tick(9_999);
		assert.equal(by(key).id, 'key:ci');
		t.mock.timers.tick(1);
		assert.throws(() => by(key), refused, 'before anybody has looked');
		ring.refresh();
		assert.deepEqual(changes, ['key:ci gone']);
		assert.equal(listKeys(store)[0]?.expired, true);
		assert.throws(() => ringOf(store).by(key), refused);
	});

	test('follow the store between start and stop', (t: TestContext) => {
		t.mock.timers.enable({ apis: ['setInterval'] });
		const store = memoryStore();
		const { ring, by } = ringOf(store);
		ring.start();
		const { key } = createKey(store, ci);
		store.changedElsewhere();
		t.mock.timers.tick(POLICY_LIMITS.keysPollMs);
		assert.equal(by(key).id, 'key:ci');
		ring.stop();
		revokeKey(store, 'ci');
		store.changedElsewhere();
		t.mock.timers.tick(10 * POLICY_LIMITS.keysPollMs);
		assert.equal(by(key).id, 'key:ci');
	});

	test('cannot take the name of the operator, nor of one another, nor be more than there may be', () => {
		const store = memoryStore();
		createKey(store, ci);
		for (const name of ['ci', 'operator'])
			assert.throws(() => createKey(store, { ...ci, name }), { code: 'SLIPWAY_KEY_EXISTS' });
		assert.throws(() => rotateKey(store, 'nobody'), { code: 'SLIPWAY_KEY_UNKNOWN' });
		assert.throws(() => revokeKey(store, 'nobody'), { code: 'SLIPWAY_KEY_UNKNOWN' });
		for (let n = 1; n < POLICY_LIMITS.keysMax; n += 1) createKey(store, { ...ci, name: `n${n}` });
		assert.throws(() => createKey(store, { ...ci, name: 'one-more' }), { code: 'SLIPWAY_KEYS_FULL' });
	});

	for (const [wrong, names] of [
		[{ name: 'ci' }, /scopes/],
		[{ ...ci, scopes: [] }, /at least one scope/],
		[{ ...ci, scopes: ['server:'] }, /scopes are/],
		[{ ...ci, scopes: ['server:a b'] }, /scopes are/],
		[{ ...ci, scopes: Array.from({ length: 257 }, (_, n) => `server:s${n}`) }, /256/],
		[{ ...ci, name: '' }, /`name`/],
		[{ ...ci, name: 'Ci' }, /`name`/],
		[{ ...ci, name: `a${'b'.repeat(64)}` }, /`name`/],
		[{ ...ci, name: '../x' }, /`name`/],
		[{ ...ci, expiresAt: 'tomorrow' }, /`expiresAt`/],
		[{ ...ci, expiresAt: '2001-01-01T00:00:00Z' }, /still to come/],
		[{ ...ci, key: 'mine' }, /key/],
		[[], /object/],
	] as const)
		test(`are refused as ${JSON.stringify(wrong).slice(0, 70)}`, () => {
			assert.throws(
				() => createKey(memoryStore(), wrong),
				(error: Error) => {
					assert.match(error.message, names);
					return 'code' in error && error.code === 'SLIPWAY_KEY_INVALID';
				},
			);
		});
});

test('with authentication off everybody is one caller, who may do everything', () => {
	const anyone = present(OPEN_TO_ALL);
	assert.equal(anyone, present(OPEN_TO_ALL, 'Bearer anything'));
	assert.equal(anyone.access.admin, true);
});
