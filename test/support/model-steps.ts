/** The steps that clients and servers take in a random test, and how they are drawn. */
import fc from 'fast-check';
import { LegacyCaller, ModernCaller } from './model-client.ts';
import type { ModelServer } from './model-server.ts';

// Few ids and tokens, so that they meet.
export const rpcId = fc.constantFrom<string | number>(0, 1, 2, '1', 'a');
const token = fc.option(rpcId, { nil: undefined });
export const at = fc.nat({ max: 20 });

export type Step =
	| {
			readonly kind: 'call';
			readonly who: number;
			readonly at: number;
			readonly id: string | number;
			readonly token: string | number | undefined;
	  }
	| {
			readonly kind: 'comeBack';
			readonly who: number;
			readonly at: number;
			readonly id: string | number;
			readonly token: string | number | undefined;
			readonly portion: 'all' | 'some' | 'none';
	  }
	| { readonly kind: 'reply'; readonly who: number; readonly at: number; readonly how: 'ok' | 'error' | 'twice' }
	| { readonly kind: 'ask'; readonly at: number; readonly count: number }
	| {
			readonly kind: 'leave' | 'abandon' | 'replay' | 'tamper' | 'cancel' | 'list';
			readonly who: number;
			readonly at: number;
	  }
	| { readonly kind: 'answer' | 'refuse' | 'again' | 'progress' | 'withdraw' | 'log'; readonly at: number }
	| { readonly kind: 'wait' };

const who = fc.nat({ max: 5 });
export const step: fc.Arbitrary<Step> = fc.oneof(
	{ weight: 6, arbitrary: fc.record({ kind: fc.constant('call' as const), who, at, id: rpcId, token }) },
	{
		weight: 5,
		arbitrary: fc.record({
			kind: fc.constant('comeBack' as const),
			who,
			at,
			id: rpcId,
			token,
			portion: fc.constantFrom('all' as const, 'all', 'some', 'none'),
		}),
	},
	{
		weight: 4,
		arbitrary: fc.record({
			kind: fc.constant('reply' as const),
			who,
			at,
			how: fc.constantFrom('ok' as const, 'ok', 'error', 'twice'),
		}),
	},
	{ weight: 5, arbitrary: fc.record({ kind: fc.constant('ask' as const), at, count: fc.integer({ min: 1, max: 3 }) }) },
	{
		weight: 5,
		arbitrary: fc.record({
			kind: fc.constantFrom('leave' as const, 'abandon', 'replay', 'tamper', 'cancel', 'list'),
			who,
			at,
		}),
	},
	{
		weight: 9,
		arbitrary: fc.record({
			kind: fc.constantFrom('answer' as const, 'answer', 'refuse', 'again', 'progress', 'progress', 'withdraw', 'log'),
			at,
		}),
	},
	{ weight: 4, arbitrary: fc.record({ kind: fc.constant('wait' as const) }) },
);

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Lets everything that was written arrive. */
export async function settle(): Promise<void> {
	for (let i = 0; i < 4; i++) await turn();
}

/** What a client does; a step that its era does not have is none. */
export function act(caller: ModernCaller | LegacyCaller, taken: Step): void {
	switch (taken.kind) {
		case 'call':
			return caller.call(taken.id, taken.token, taken.at);
		case 'comeBack':
			if (caller instanceof ModernCaller) caller.comeBack(taken.at, taken);
			return;
		case 'leave':
			if (caller instanceof ModernCaller) caller.leave(taken.at);
			return;
		case 'abandon':
			if (caller instanceof ModernCaller) caller.abandon(taken.at);
			return;
		case 'replay':
			if (caller instanceof ModernCaller) caller.replay(taken.at);
			return;
		case 'tamper':
			if (caller instanceof ModernCaller) caller.tamper(taken.at);
			return;
		case 'list':
			if (caller instanceof LegacyCaller) caller.request(`list ${taken.at}`, 'tools/list', {});
			return;
		case 'cancel':
			if (caller instanceof LegacyCaller) caller.cancel(taken.at);
			return;
		case 'reply':
			if (caller instanceof LegacyCaller) caller.reply(taken.at, taken.how);
	}
}

/** What a server does; a step that is none of a server is none. */
export function move(server: ModelServer, taken: Step): void {
	switch (taken.kind) {
		case 'answer':
			return server.answer(taken.at);
		case 'refuse':
			return server.answer(taken.at, 'error');
		case 'again':
			return server.answerAgain(taken.at);
		case 'progress':
			return server.progress(taken.at);
		case 'log':
			return server.log();
		case 'withdraw':
			return server.withdraw(taken.at);
		case 'ask':
			return server.ask(taken.at, taken.count);
	}
}
