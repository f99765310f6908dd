import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differenceOf, fingerprintsOf, isNone } from '../../src/catalog/difference.ts';
import { parseCatalog } from '../../src/catalog/load.ts';

const NOTHING = { added: [], removed: [], changed: [] };

function fingerprints(servers: Readonly<Record<string, object>>, groups: object = {}) {
	const entries = Object.entries(servers).map(([name, entry]) => [name, { image: 'acme/mcp:1', ...entry }]);
	return fingerprintsOf(parseCatalog(JSON.stringify({ servers: Object.fromEntries(entries), groups }), 'catalog.json'));
}

test('the same catalog is no difference, however it is written', () => {
	const one = fingerprints({ a: {}, b: { env: { A: '1' } } });
	const other = fingerprints({ b: { env: { A: '1' }, enabled: true }, a: { args: [] } });
	assert.equal(isNone(differenceOf(one, other)), true);
});

test('servers and groups come, go and change, each field by its name', () => {
	const now = fingerprints({ stays: {}, goes: {} }, { all: ['stays'], old: ['stays'] });
	const next = fingerprints(
		{ stays: { env: { A: '1' }, title: 'New' }, comes: {}, constructor: {} },
		{ all: ['stays', 'comes'], new: ['comes'] },
	);
	assert.deepEqual(differenceOf(now, next), {
		added: ['comes', 'constructor'],
		removed: ['goes'],
		changed: [{ name: 'stays', fields: ['env', 'title'], replaced: true }],
		groups: { added: ['new'], removed: ['old'], changed: ['all'] },
	});
});

test('what is said of a server and not of its containers leaves them', () => {
	const now = fingerprints({ a: {} });
	for (const entry of [{ title: 'New' }, { callTimeout: 5 }, { enabled: false }, { pin: 'off' }])
		assert.deepEqual(
			differenceOf(now, fingerprints({ a: entry })).changed.map(({ replaced }) => replaced),
			[false],
		);
	assert.deepEqual(differenceOf(now, fingerprints({ a: { user: '10001' } })), {
		...NOTHING,
		changed: [{ name: 'a', fields: ['user'], replaced: true }],
		groups: NOTHING,
	});
});

test('a fingerprint tells nothing of a value but whether it is the same', () => {
	const told = JSON.stringify(fingerprints({ a: { env: { TOKEN: 'canary-value' }, args: ['--key=canary-value'] } }));
	assert.doesNotMatch(told, /canary|TOKEN|key=/);
});
