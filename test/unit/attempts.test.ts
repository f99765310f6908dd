import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { beforeEach, mock, test } from 'node:test';
import { type ErrorCode, SlipwayError } from '../../src/errors.ts';
import { BoundedAuthenticator } from '../../src/http/attempts.ts';
import { POLICY_LIMITS } from '../../src/limits.ts';

const { failingSitesMax, failuresPerMinuteMax } = POLICY_LIMITS;

/** It stands still but for the test: on a slow machine there would be room again meanwhile. */
let timeMs = 0;
mock.method(performance, 'now', () => timeMs);
beforeEach(() => {
	timeMs = 1_000_000;
});

/** Everybody fails, in one way; who asks is known by the address. */
function bench(code: ErrorCode, bearer = 'wrong') {
	let asked = 0;
	const inner = {
		authenticate: () => {
			asked += 1;
			throw new SlipwayError(code);
		},
		challenge: () => undefined,
	};
	const bounded = new BoundedAuthenticator(inner, ({ url }) => url ?? '');
	const fail = async (address: string): Promise<ErrorCode> => {
		const request = { url: address, headers: { authorization: `Bearer ${bearer}` } } as unknown as IncomingMessage;
		const error: unknown = await Promise.try(() => bounded.authenticate(request)).then(
			() => undefined,
			(reason: unknown) => reason,
		);
		assert.ok(error instanceof SlipwayError);
		return error.code;
	};
	return { bounded, fail, asked: () => asked };
}

test('addresses beyond those that are told apart have one bound together, and none is forgotten for another', async () => {
	const { fail } = bench('SLIPWAY_UNAUTHENTICATED');
	const address = (n: number): string => `10.${n >> 16}.${(n >> 8) & 0xff}.${n & 0xff}`;
	for (let n = 0; n < failuresPerMinuteMax; n++) await fail(address(0));
	for (let n = 1; n < failingSitesMax; n++) assert.equal(await fail(address(n)), 'SLIPWAY_UNAUTHENTICATED');
	assert.equal(await fail(address(0)), 'SLIPWAY_RATE_LIMITED');
	const told: ErrorCode[] = [];
	for (let n = 0; n <= failuresPerMinuteMax; n++) told.push(await fail(address(failingSitesMax + n)));
	assert.equal(told.at(-1), 'SLIPWAY_RATE_LIMITED');
	assert.ok(told.slice(0, -1).every((code) => code === 'SLIPWAY_UNAUTHENTICATED'));
	assert.equal(await fail(address(1)), 'SLIPWAY_UNAUTHENTICATED');
});

test('tokens that are none count, and an issuer that does not answer does not', async () => {
	const long = 'x'.repeat(POLICY_LIMITS.guessableCharsMax + 1);
	const forged = bench('SLIPWAY_TOKEN_INVALID', long);
	const down = bench('SLIPWAY_ISSUER_UNREACHABLE', long);
	for (let n = 0; n < failuresPerMinuteMax; n++) {
		assert.equal(await forged.fail('10.0.0.1'), 'SLIPWAY_TOKEN_INVALID');
		assert.equal(await down.fail('10.0.0.1'), 'SLIPWAY_ISSUER_UNREACHABLE');
	}
	assert.equal(await forged.fail('10.0.0.1'), 'SLIPWAY_RATE_LIMITED');
	assert.equal(await down.fail('10.0.0.1'), 'SLIPWAY_ISSUER_UNREACHABLE');
});

test('what is too long to be guessed is looked at each time, and what is not is not beyond the bound', async () => {
	for (const [chars, looks] of [
		[POLICY_LIMITS.guessableCharsMax, failuresPerMinuteMax],
		[POLICY_LIMITS.guessableCharsMax + 1, failuresPerMinuteMax + 5],
	] as const) {
		const { fail, asked } = bench('SLIPWAY_UNAUTHENTICATED', 'x'.repeat(chars));
		for (let n = 0; n < failuresPerMinuteMax + 5; n++) await fail('10.0.0.1');
		assert.equal(asked(), looks);
	}
});

test('addresses that fail no more for a while make room for others', async () => {
	const { bounded, fail } = bench('SLIPWAY_UNAUTHENTICATED');
	for (let n = 0; n < failingSitesMax; n++) await fail(`10.0.${n >> 8}.${n & 0xff}`);
	for (let n = 0; n < failuresPerMinuteMax; n++) await fail(`10.1.0.${n}`);
	assert.equal(await fail('10.2.0.1'), 'SLIPWAY_RATE_LIMITED');
	timeMs += 1000;
	bounded.tick(timeMs);
	for (let n = 0; n < failuresPerMinuteMax; n++) assert.equal(await fail('10.2.0.1'), 'SLIPWAY_UNAUTHENTICATED');
});
