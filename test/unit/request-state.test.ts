import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RequestMessage, RpcId } from '../../src/mcp/jsonrpc.ts';
import { RequestStates } from '../../src/mcp/request-state.ts';

function request(params: object | undefined, method = 'tools/call', id: RpcId = 1): RequestMessage {
	return { kind: 'request', id, method, params };
}

const CALL = request({ name: 'x', arguments: { a: 1, b: { c: [1, 2], d: null } } });
const NAME = { call: 12, round: 3 };

/** That a state is refused, in the same way wherever it is asked. */
function assertRefused(states: RequestStates, state: string, message: RequestMessage): void {
	assert.equal(states.issued(state, message), false, state);
	assert.throws(() => states.read(state, message), { code: 'SLIPWAY_REQUEST_STATE' }, state);
}

function assertRead(states: RequestStates, state: string, message: RequestMessage): void {
	assert.equal(states.issued(state, message), true);
	assert.deepEqual(states.read(state, message), NAME);
}

test('a state is read back as what it was issued for, as often as it is asked', () => {
	const states = new RequestStates();
	for (const name of [{ call: 0, round: 0 }, NAME, { call: 999_999_999_999_999, round: 999_999_999 }]) {
		const state = states.issue(name, CALL);
		for (let i = 0; i < 2; i++) {
			assert.equal(states.issued(state, CALL), true);
			assert.deepEqual(states.read(state, CALL), name);
		}
	}
});

test('a state says nothing of the request, and another call or round has another', () => {
	const states = new RequestStates();
	const message = request({ name: 'secret-name', arguments: { key: 'secret-value' } });
	const issued = [NAME, { ...NAME, call: 13 }, { ...NAME, round: 4 }].map((name) => states.issue(name, message));
	assert.equal(new Set(issued.map((state) => state.split('.')[2])).size, 3);
	for (const state of issued) {
		assert.match(state, /^\d+\.\d+\.[\w-]{43}$/);
		const [, , signature = ''] = state.split('.');
		for (const text of [state, Buffer.from(signature, 'base64url').toString('latin1')]) assert.ok(!/secret/.test(text));
	}
});

describe('a state is refused', () => {
	test('with any character changed, left out or added', () => {
		const states = new RequestStates();
		const state = states.issue(NAME, CALL);
		for (let at = 0; at <= state.length; at++) {
			const [before, after] = [state.slice(0, at), state.slice(at + 1)];
			for (const other of ['0', '1', 'A', 'z', '-', '_', '.', ' ', '\n', 'é', '\0', '']) {
				if (other !== state[at] && at < state.length) assertRefused(states, before + other + after, CALL);
				if (other !== '') assertRefused(states, before + other + state.slice(at), CALL);
			}
		}
		assertRead(states, state, CALL);
	});

	test('with the name of another and its own signature, and the other way around', () => {
		const states = new RequestStates();
		const [one, two] = [states.issue({ call: 1, round: 1 }, CALL), states.issue({ call: 2, round: 1 }, CALL)];
		const swap = (name: string, signed: string): string =>
			[...name.split('.').slice(0, 2), signed.split('.')[2]].join('.');
		assertRefused(states, swap(one, two), CALL);
		assertRefused(states, swap(two, one), CALL);
	});

	test('when another instance issued it', () => {
		const [one, other] = [new RequestStates(), new RequestStates()];
		assertRefused(other, one.issue(NAME, CALL), CALL);
		assertRead(one, one.issue(NAME, CALL), CALL);
	});

	test('with another request than the one that it was issued for', () => {
		const states = new RequestStates();
		const state = states.issue(NAME, CALL);
		const others = [
			request(CALL.params, 'prompts/get'),
			request(undefined),
			request({}),
			request({ name: 'x' }),
			request({ name: 'y', arguments: { a: 1, b: { c: [1, 2], d: null } } }),
			request({ name: 'x', arguments: { a: 2, b: { c: [1, 2], d: null } } }),
			request({ name: 'x', arguments: { a: '1', b: { c: [1, 2], d: null } } }),
			request({ name: 'x', arguments: { a: 1, b: { c: [2, 1], d: null } } }),
			request({ name: 'x', arguments: { a: 1, b: { c: [1, 2] } } }),
			request({ name: 'x', arguments: { a: 1, b: { c: [1, 2], d: {} } } }),
			request({ name: 'x', arguments: { a: 1, b: { c: [1, 2], d: null }, _meta: {} } }),
			request({ name: 'x', arguments: { a: 1, b: { c: { 0: 1, 1: 2 }, d: null } } }),
			request({ name: 'x', arguments: { a: 1, b: { c: [1, 2], d: null } }, more: 1 }),
			request(JSON.parse('{"name":"x","__proto__":{"arguments":{"a":1,"b":{"c":[1,2],"d":null}}}}')),
			request(JSON.parse('{"name":"x","arguments":{"a":1,"b":{"c":[1,2],"d":null},"__proto__":{}}}')),
		];
		for (const other of others) assertRefused(states, state, other);
		assertRead(states, state, CALL);
	});

	test('when it is no state at all', () => {
		const states = new RequestStates();
		const { length } = states.issue(NAME, CALL);
		for (const state of ['', '.', '..', '1.1.', `1.1.${'A'.repeat(43)}`, 'x'.repeat(length), '9'.repeat(100_000)])
			assertRefused(states, state, CALL);
	});
});

describe('a state is good for the same request', () => {
	test('whatever the order of keys, at any depth', () => {
		const states = new RequestStates();
		const state = states.issue(NAME, CALL);
		assertRead(states, state, request({ arguments: { b: { d: null, c: [1, 2] }, a: 1 }, name: 'x' }));
		const listed = request({ list: [{ a: 1, b: 2, 10: 3, 9: 4 }] });
		assertRead(states, states.issue(NAME, listed), request({ list: [{ 9: 4, b: 2, 10: 3, a: 1 }] }));
	});

	test('with another id, and with what answers bring along', () => {
		const states = new RequestStates();
		const state = states.issue(NAME, CALL);
		const more = { _meta: { progressToken: 1 }, inputResponses: { q: { action: 'accept' } }, requestState: state };
		assertRead(states, state, request({ ...CALL.params, ...more }, 'tools/call', 'other'));
		const again = states.issue(NAME, request({ ...CALL.params, ...more }));
		assertRead(states, again, CALL);
	});

	test('without params', () => {
		const states = new RequestStates();
		const state = states.issue(NAME, request(undefined, 'x'));
		assertRead(states, state, request({}, 'x'));
		assertRead(states, state, request({ requestState: state }, 'x'));
	});
});
