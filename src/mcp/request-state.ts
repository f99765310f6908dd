/**
 * The requestState that a client gets with questions and brings back with its answers: opaque, authenticated, bound to
 * the request that it was given for, good for one time and for a while.
 *
 * Source: https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr#server-requirements-basic-workflow
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { SlipwayError } from '../errors.ts';
import { canonical } from './canonical.ts';
import { own, type RequestMessage } from './jsonrpc.ts';

/** Which call a state names, and the how manieth round of questions in it. */
export interface StateName {
	readonly call: number;
	readonly round: number;
}

/** What a client may change between the first request and the next: the rest must be the same. */
const CHANGING = new Set(['_meta', 'inputResponses', 'requestState']);

/** INVARIANT: what one caller was given is refused from every other, since each has a key of its own. */
export class RequestStates {
	readonly #key = randomBytes(32);

	issue({ call, round }: StateName, request: RequestMessage): string {
		const name = `${call}.${round}`;
		return `${name}.${this.#sign(name, request)}`;
	}

	/** Whether a state was given out here, for whatever request. */
	issued(state: string, request: RequestMessage): boolean {
		return this.#read(state, request) !== undefined;
	}

	/** @throws SlipwayError SLIPWAY_REQUEST_STATE for a state that was not given out here for this very request */
	read(state: string, request: RequestMessage): StateName {
		const name = this.#read(state, request);
		if (name === undefined) throw new SlipwayError('SLIPWAY_REQUEST_STATE');
		return name;
	}

	#read(state: string, request: RequestMessage): StateName | undefined {
		const [, call, round, signature = ''] = /^(\d{1,15})\.(\d{1,9})\.([\w-]{43})$/.exec(state) ?? [];
		const expected = Buffer.from(this.#sign(`${call}.${round}`, request));
		const given = Buffer.from(signature);
		if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
		return { call: Number(call), round: Number(round) };
	}

	#sign(name: string, { method, params = {} }: RequestMessage): string {
		const salient = Object.keys(params).filter((key) => !CHANGING.has(key));
		const subject = Object.fromEntries(salient.map((key) => [key, own(params, key)]));
		return createHmac('sha256', this.#key)
			.update(`${name} ${method} ${canonical(subject)}`)
			.digest('base64url');
	}
}
