/**
 * The bridge between the eras under random orders of everything: clients of one in front of servers of the other, many
 * clients of the second in front of one server of the second, and one client in front of servers of both.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { BRIDGE_LIMITS, SESSION_LIMITS } from '../../src/limits.ts';
import { explore } from '../support/explore.ts';
import { LegacyCaller, type Listening, ModernCaller } from '../support/model-client.ts';
import { type ModelServer, pick } from '../support/model-server.ts';
import { act, at, move, rpcId, type Step, settle, step } from '../support/model-steps.ts';
import { bridged, emulated, manyLegacy, manyModern, shared, type World } from '../support/model-world.ts';
import { VirtualTimers } from '../support/virtual-timers.ts';

const CALLS = { forMs: 2_200, runsMin: 100 };
const SUBSCRIPTIONS = { forMs: 1_300, runsMin: 100 };

interface Plan {
	readonly steps: readonly (readonly [step: Step, pause: boolean])[];
	readonly dies: number | undefined;
}

/** What a random run does, whether it pauses after each step, and when its server dies, if it does. */
const plan: fc.Arbitrary<Plan> = fc.record({
	steps: fc.array(fc.tuple(step, fc.boolean()), { minLength: 5, maxLength: 60, size: 'max' }),
	dies: fc.option(fc.nat({ max: 40 }), { nil: undefined }),
});

async function run(world: World, timers: VirtualTimers, { steps, dies }: Plan): Promise<void> {
	const { backends, callers } = world;
	for (const [index, [taken, pause]] of steps.entries()) {
		if (index === dies) pick(live(world), index)?.die();
		if (taken.kind === 'wait') timers.advance(BRIDGE_LIMITS.gatherMs);
		else if ('who' in taken) act(callers[taken.who % callers.length] ?? assert.fail(), taken);
		else {
			const server = pick(live(world), taken.at);
			if (server !== undefined) move(server, { ...taken, at: Math.floor(taken.at / backends.length) });
		}
		if (pause) await settle();
		listen(world);
	}
}

const live = ({ backends }: World): ModelServer[] => backends.map(({ server }) => server).filter(({ dead }) => !dead);

/** Everybody looks at what came. Returns whether a server heard something. */
function listen({ backends, callers }: World): boolean {
	const heard = backends.map(({ server }) => server.hear());
	for (const caller of callers) {
		if (caller instanceof ModernCaller) caller.hear();
		caller.check();
	}
	return heard.includes(true);
}

/** Everybody does what is left to be done. */
async function finish(world: World, timers: VirtualTimers): Promise<void> {
	const { callers, tick } = world;
	for (let turns = 0; listen(world) || turns < 3; turns++) {
		await settle();
		timers.advance(BRIDGE_LIMITS.gatherMs);
	}
	for (const caller of callers) if (caller instanceof LegacyCaller) caller.checkCancelled();
	if (world.backends.length === 1 && live(world).length === 0)
		for (const { waiting } of callers) assert.equal(waiting, 0, 'calls outlive their server');
	for (let quiet = 0; quiet < 3; ) {
		await settle();
		timers.advance(BRIDGE_LIMITS.gatherMs);
		await settle();
		let busy = listen(world);
		for (const caller of callers) {
			if (caller instanceof LegacyCaller) while (caller.reply(0)) busy = true;
			else for (; caller.isAsked; busy = true) caller.comeBack(0, { id: 'last', token: undefined, portion: 'all' });
		}
		const givenUp = new Set(callers.flatMap((caller) => caller.givenUp));
		for (const server of live(world)) server.answerAll(givenUp);
		quiet = busy ? 0 : quiet + 1;
	}
	// Those who never came back, and questions that nobody came to be asked.
	tick(performance.now() + BRIDGE_LIMITS.parkedMs + 1);
	await settle();
	listen(world);
}

/** No answer is lost, doubled or crossed, and nothing is left. */
async function checkAtEnd(world: World, timers: VirtualTimers): Promise<void> {
	for (const caller of world.callers) caller.checkEnded();
	assert.equal(world.inFlight(), 0, 'calls are left in flight');
	for (const { upstream } of world.backends) assert.equal(upstream.inFlight, 0, 'calls are left at a server');
	for (const { pending, waiting } of live(world)) {
		assert.deepEqual(waiting, [], 'questions without an answer');
		assert.deepEqual([...pending.values()], [], 'nobody told the server that a call was given up');
	}
	await world.close();
	await Promise.all(world.backends.map(({ upstream }) => upstream.ended));
	assert.equal(timers.pending, 0, 'timers are left');
}

/** One random run in a world of its own. */
async function runIn(make: () => World, planned: Plan): Promise<void> {
	const timers = new VirtualTimers();
	timers.install();
	try {
		const world = make();
		await run(world, timers, planned);
		await finish(world, timers);
		await checkAtEnd(world, timers);
	} finally {
		timers.restore();
	}
}

type AskingStep =
	| { readonly kind: 'call'; readonly id: string | number }
	| { readonly kind: 'comeBack'; readonly at: number; readonly portion: 'all' | 'some' | 'none' }
	| { readonly kind: 'askFor' | 'answer' | 'leave' | 'wait'; readonly at: number };

const askingStep: fc.Arbitrary<AskingStep> = fc.oneof(
	{ weight: 4, arbitrary: fc.record({ kind: fc.constant('call' as const), id: rpcId }) },
	{
		weight: 4,
		arbitrary: fc.record({
			kind: fc.constant('comeBack' as const),
			at,
			portion: fc.constantFrom('all' as const, 'some', 'none'),
		}),
	},
	{
		weight: 13,
		arbitrary: fc.record({
			kind: fc.constantFrom(
				'askFor' as const,
				'askFor',
				'askFor',
				'answer',
				'answer',
				'answer',
				'leave',
				'wait',
				'wait',
			),
			at,
		}),
	},
);
const askingPlan = fc.array(askingStep, { minLength: 5, maxLength: 60, size: 'max' });

/** Calls in flight, and their questions: no more than may be parked and may wait, so that no bound refuses one. */
const ASKING_MAX = Math.min(BRIDGE_LIMITS.parkedMax, BRIDGE_LIMITS.waitingQuestionsMax);

/**
 * A server of the first era that asks for any of its calls and goes on with it when it has the answer, and a client that
 * comes back whenever it is asked: no question is refused while there is another call to ask it with.
 */
async function exploreAsking(steps: readonly AskingStep[], timers: VirtualTimers): Promise<void> {
	const world = bridged();
	const [caller, server] = [callerOf(world, ModernCaller), serverOf(world)];
	let refusals = 0;
	const hear = async (): Promise<boolean> => {
		await settle();
		const heard = listen(world);
		const refused = [...server.questions.values()].filter(({ state }) => state === 'refused').length;
		if (refused > refusals)
			assert.equal(server.pending.size, 0, 'a question was refused while somebody could be asked');
		refusals = refused;
		return heard;
	};
	for (const taken of steps) {
		if (taken.kind === 'call') {
			if (server.pending.size < ASKING_MAX) caller.call(taken.id, undefined);
		} else if (taken.kind === 'askFor') {
			if (server.waiting.length < ASKING_MAX) server.askFor(taken.at);
		} else if (taken.kind === 'answer') server.answerIdle(taken.at);
		else if (taken.kind === 'comeBack') caller.comeBack(taken.at, { ...taken, id: 'back', token: undefined });
		else if (taken.kind === 'leave') caller.leave(taken.at);
		else timers.advance(BRIDGE_LIMITS.gatherMs);
		await hear();
	}
	for (let quiet = 0; quiet < 4; ) {
		timers.advance(BRIDGE_LIMITS.gatherMs);
		let busy = await hear();
		// The newest first: the client of a call that asks for nothing is the first to have it over.
		for (let at = server.pending.size; server.answerIdle(Math.max(at - 1, 0)); at--) busy = true;
		await hear();
		for (; caller.isAsked; busy = true) caller.comeBack(0, { id: 'last', token: undefined, portion: 'all' });
		quiet = busy ? 0 : quiet + 1;
	}
	assert.equal(server.pending.size, 0, 'a call waits for a question that nobody is asked');
	const answered = caller.calls.flatMap((call) => call.answered);
	assert.equal(new Set(answered).size, answered.length, 'what was answered was asked again');
	caller.checkEnded();
	await world.close();
}

type SubscriptionStep =
	| { readonly kind: 'open'; readonly id: string | number; readonly uris: readonly string[]; readonly tools: boolean }
	| { readonly kind: 'close' | 'cancel' | 'accept' | 'refuse' | 'change'; readonly at: number };

type SubscriptionPlan = readonly (readonly [step: SubscriptionStep, pause: boolean])[];

const URIS = ['test://one', 'test://two', 'test://three'] as const;
const subscriptionStep: fc.Arbitrary<SubscriptionStep> = fc.oneof(
	{
		weight: 3,
		arbitrary: fc.record({
			kind: fc.constant('open' as const),
			id: rpcId,
			uris: fc.subarray([...URIS]),
			tools: fc.boolean(),
		}),
	},
	{
		weight: 7,
		arbitrary: fc.record({
			kind: fc.constantFrom('close' as const, 'cancel', 'accept', 'accept', 'refuse', 'change'),
			at,
		}),
	},
);
const subscriptionPlan: fc.Arbitrary<SubscriptionPlan> = fc.array(fc.tuple(subscriptionStep, fc.boolean()), {
	minLength: 3,
	maxLength: 40,
	size: 'max',
});

/** Listeners of a client of the second era, over subscriptions of a server of the first. */
async function exploreListeners(steps: SubscriptionPlan): Promise<void> {
	const world = bridged({ holdsSubscriptions: true });
	const [caller, server] = [callerOf(world, ModernCaller), serverOf(world)];
	const streams: Listening[] = [];
	const hear = async (): Promise<boolean> => {
		await settle();
		for (const stream of streams) stream.check();
		return server.hear();
	};
	for (const [taken, pause] of steps) {
		if (taken.kind === 'open') {
			const { id, uris, tools } = taken;
			streams.push(caller.listen(id, { resourceSubscriptions: uris, ...(tools ? { toolsListChanged: true } : {}) }));
		} else if (taken.kind === 'close') pick(stillOpen(streams), taken.at)?.leave();
		else if (taken.kind === 'change') server.change(taken.at);
		else if (taken.kind !== 'cancel') server.acknowledge(taken.at, taken.kind === 'accept');
		if (pause) await hear();
	}
	await untilQuiet(hear, server);
	for (const { acknowledged } of stillOpen(streams)) assert.ok(acknowledged, 'a listener was never acknowledged');
	assert.deepEqual(server.subscribed, new Set(stillOpen(streams).flatMap(({ acknowledged = [] }) => acknowledged)));
	// Each change reaches each listener that wants it, once.
	const heardBefore = new Map(stillOpen(streams).map((stream) => [stream, stream.changed]));
	server.changeAll();
	await hear();
	for (const [stream, before] of heardBefore) {
		const due = [...server.subscribed].filter((uri) => stream.acknowledged?.includes(uri));
		assert.deepEqual(stream.changed, [...before, ...due]);
	}
	for (const stream of stillOpen(streams)) stream.leave();
	await untilQuiet(hear, server);
	assert.deepEqual(server.subscribed, new Set(), 'subscriptions are left');
	await world.close();
}

/** The same at servers of both eras as one, each of which has resources of its own. */
async function exploreManyListeners(steps: SubscriptionPlan): Promise<void> {
	const [one, two, three] = URIS;
	const holdsSubscriptions = true;
	const world = manyModern({
		alpha: { holdsSubscriptions, resources: [one] },
		beta: { holdsSubscriptions, resources: [two, three] },
	});
	const caller = callerOf(world, ModernCaller);
	const servers = (): ModelServer[] => world.backends.map(({ server }) => server);
	const streams: Listening[] = [];
	const hear = async (): Promise<boolean> => {
		await settle();
		for (const stream of streams) stream.check();
		return servers()
			.map((server) => server.hear())
			.includes(true);
	};
	for (const [taken, pause] of steps) {
		const server = 'at' in taken ? pick(servers(), taken.at) : undefined;
		if (taken.kind === 'open') {
			const { id, uris, tools } = taken;
			streams.push(caller.listen(id, { resourceSubscriptions: uris, ...(tools ? { toolsListChanged: true } : {}) }));
		} else if (taken.kind === 'close') pick(stillOpen(streams), taken.at)?.leave();
		else if (taken.kind === 'change') server?.change(taken.at);
		else if (taken.kind !== 'cancel') server?.acknowledge(taken.at, taken.kind === 'accept');
		if (pause) await hear();
	}
	for (let rounds = 0; rounds < 3; rounds++) await untilQuiet(hear, ...servers());
	for (const { acknowledged } of stillOpen(streams)) assert.ok(acknowledged, 'a listener was never acknowledged');
	const wanted = new Set(stillOpen(streams).flatMap(({ acknowledged = [] }) => acknowledged));
	assert.deepEqual(new Set(servers().flatMap(({ subscribed, listened }) => [...subscribed, ...listened])), wanted);
	const heardBefore = new Map(stillOpen(streams).map((stream) => [stream, stream.changed]));
	for (const server of servers()) server.changeAll();
	await hear();
	for (const [stream, before] of heardBefore)
		assert.deepEqual(stream.changed.slice(before.length).sort(), [...(stream.acknowledged ?? [])].sort());
	for (const stream of stillOpen(streams)) stream.leave();
	await untilQuiet(hear, ...servers());
	for (const { subscribed, listens } of servers())
		assert.equal(subscribed.size + listens.size, 0, 'subscriptions are left');
	await world.close();
}

/** Servers take what waits for them, and what comes of that, until nothing more does. */
async function untilQuiet(hear: () => Promise<boolean>, ...servers: readonly ModelServer[]): Promise<void> {
	for (let quiet = 0; quiet < 4; ) {
		const heard = await hear();
		const taken = servers.map((server) => server.acknowledge(0));
		quiet = heard || taken.includes(true) ? 0 : quiet + 1;
	}
}

const stillOpen = (streams: readonly Listening[]): Listening[] => streams.filter((stream) => stream.live);

/** Subscriptions of a client of the first era, over listeners at a server of the second. */
async function exploreSubscriptions(steps: SubscriptionPlan): Promise<void> {
	const world = emulated({ holdsSubscriptions: true });
	const [caller, server] = [callerOf(world, LegacyCaller), serverOf(world)];
	const hear = async (): Promise<boolean> => {
		await settle();
		caller.check();
		return server.hear();
	};
	for (const [taken, pause] of steps) {
		if (taken.kind === 'open') for (const uri of taken.uris) caller.request(taken.id, 'resources/subscribe', { uri });
		else if (taken.kind === 'close') caller.request('close', 'resources/unsubscribe', { uri: pick(URIS, taken.at) });
		else if (taken.kind === 'cancel') caller.cancel(taken.at);
		else if (taken.kind === 'change') server.change(taken.at);
		else server.acknowledge(taken.at, taken.kind === 'accept');
		if (pause) await hear();
	}
	await untilQuiet(hear, server);
	caller.checkEnded();
	for (const uri of server.listened) caller.request(`close ${uri}`, 'resources/unsubscribe', { uri });
	await untilQuiet(hear, server);
	caller.checkEnded();
	assert.deepEqual(server.listened, new Set(), 'subscriptions are left');
	await world.close();
}

describe('between the eras, in any order of events', () => {
	test('a client of 2026-07-28 and a server before it: no answer lost, doubled or crossed', () =>
		explore(plan, (planned) => runIn(bridged, planned), CALLS));

	test('a server before 2026-07-28 that asks for any of its calls: every question is put to somebody who can answer', () =>
		explore(
			askingPlan,
			async (steps) => {
				const timers = new VirtualTimers();
				timers.install();
				try {
					await exploreAsking(steps, timers);
				} finally {
					timers.restore();
				}
			},
			CALLS,
		));

	test('a client before 2026-07-28 and a server of it: no answer lost, doubled or crossed', () =>
		explore(plan, (planned) => runIn(emulated, planned), CALLS));

	test('clients of 2026-07-28 that share a server of it: no answer lost, doubled or crossed', () =>
		explore(plan, (planned) => runIn(shared, planned), CALLS));

	test('a client of 2026-07-28 and servers of both eras as one: no answer lost, doubled or crossed', () =>
		explore(plan, (planned) => runIn(manyModern, planned), CALLS));

	test('a client before 2026-07-28 and servers of both eras as one: no answer lost, doubled or crossed', () =>
		explore(plan, (planned) => runIn(manyLegacy, planned), CALLS));

	test('listeners over resources/subscribe: each is acknowledged once, and hears what it asked for', () =>
		explore(subscriptionPlan, exploreListeners, SUBSCRIPTIONS));

	test('listeners at servers of both eras as one: each is acknowledged once, and hears what it asked for', () =>
		explore(subscriptionPlan, exploreManyListeners, SUBSCRIPTIONS));

	test('resources/subscribe over listeners: every request ends once, and no listener is left', () =>
		explore(subscriptionPlan, exploreSubscriptions, SUBSCRIPTIONS));
});

/** A client of a world, of the kind that it has. */
function callerOf<Caller extends ModernCaller | LegacyCaller>(
	{ callers }: World,
	kind: abstract new (...args: never[]) => Caller,
): Caller {
	const [caller] = callers;
	assert.ok(caller instanceof kind);
	return caller;
}

const serverOf = ({ backends }: World): ModelServer => backends[0]?.server ?? assert.fail();

/** Lets everything arrive, be gathered, and be heard. */
async function hear(world: World): Promise<void> {
	await settle();
	await sleep(BRIDGE_LIMITS.gatherMs + 5);
	await settle();
	listen(world);
}

describe('what once went wrong', () => {
	test('a call is made although the question that it waited for is withdrawn', async () => {
		const world = bridged();
		const caller = callerOf(world, ModernCaller);
		// Nobody is there to be asked; the next call is.
		serverOf(world).ask(0);
		await settle();
		caller.call(1, undefined);
		serverOf(world).withdraw(0);
		await hear(world);
		assert.equal(serverOf(world).pending.size, 1, 'the call never reached the server');
		serverOf(world).answer(0);
		await hear(world);
		caller.checkEnded();
	});

	test('a call that waits for a question ends when the server does', async () => {
		const world = bridged();
		const caller = callerOf(world, ModernCaller);
		serverOf(world).ask(0);
		await settle();
		caller.call(1, undefined);
		serverOf(world).die();
		await hear(world);
		caller.checkEnded();
	});

	test('progress after a question comes under the token of the request that waits now', async () => {
		const world = bridged();
		const caller = callerOf(world, ModernCaller);
		caller.call(1, 'first');
		await hear(world);
		serverOf(world).ask(0);
		await hear(world);
		caller.comeBack(0, { id: 2, token: 'second', portion: 'all' });
		await hear(world);
		serverOf(world).progress(0);
		await hear(world);
		const [, second] = caller.calls[0]?.tickets ?? [];
		assert.deepEqual(
			second?.told.map(({ params }) => params?.['progressToken']),
			['second'],
		);
		serverOf(world).answer(0);
		await hear(world);
		caller.checkEnded();
	});

	test('a listener of more resources than a server has requests in flight gets what it can, and is let go', async () => {
		const world = bridged();
		const caller = callerOf(world, ModernCaller);
		const resourceSubscriptions = Array.from(
			{ length: SESSION_LIMITS.inFlightMax + 8 },
			(_, index) => `test://${index}`,
		);
		const stream = caller.listen(1, { resourceSubscriptions });
		for (let turns = 0; turns < 4; turns++) await hear(world);
		stream.check();
		assert.ok(stream.acknowledged, 'it was never acknowledged');
		assert.deepEqual(new Set(stream.acknowledged), serverOf(world).subscribed);
		stream.leave();
		for (let turns = 0; turns < 4; turns++) await hear(world);
		assert.deepEqual(serverOf(world).subscribed, new Set(), 'subscriptions are left');
	});

	test('a listener hangs up while its server has as many calls as it takes', async () => {
		const world = bridged();
		const caller = callerOf(world, ModernCaller);
		const stream = caller.listen('listener', { resourceSubscriptions: ['test://one', 'test://two'] });
		await hear(world);
		await hear(world);
		assert.ok(stream.acknowledged);
		// The first call sets the level of the server's log, which is a request too.
		caller.call('first', undefined);
		await hear(world);
		serverOf(world).answer(0);
		await hear(world);
		for (let id = 0; id < SESSION_LIMITS.inFlightMax; id++) caller.call(id, undefined);
		stream.leave();
		await hear(world);
		while (serverOf(world).pending.size > 0) serverOf(world).answer(0);
		await hear(world);
		caller.checkEnded();
	});

	test('a subscription that is withdrawn before it was taken ends once', async () => {
		const world = emulated({ holdsSubscriptions: true });
		const caller = callerOf(world, LegacyCaller);
		caller.request(1, 'resources/subscribe', { uri: 'test://one' });
		await hear(world);
		caller.cancel(0);
		await hear(world);
		caller.checkEnded();
		assert.deepEqual(serverOf(world).listened, new Set());
	});

	for (const _meta of [['a', { b: 1 }], 'text', null, 1, [], [[]]])
		test(`what is no \`_meta\` makes no message that is no JSON: ${JSON.stringify(_meta)}`, async () => {
			const towardsModern = bridged();
			const modern = callerOf(towardsModern, ModernCaller);
			modern.call(1, undefined);
			const stream = modern.listen(2, { resourceSubscriptions: [], toolsListChanged: true });
			await hear(towardsModern);
			const [call] = serverOf(towardsModern).pending.values();
			const { instance } = serverOf(towardsModern);
			instance.say({ jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { _meta } });
			instance.say({ jsonrpc: '2.0', id: call?.wireId ?? 0, result: { mark: call?.mark, content: [], _meta } });
			await hear(towardsModern);
			assert.equal(stream.ticket.told.length, 2);
			modern.checkEnded();

			const towardsLegacy = emulated();
			callerOf(towardsLegacy, LegacyCaller).request(1, 'tools/list', { _meta });
			// The server fails for a line that it cannot read.
			await hear(towardsLegacy);
			assert.equal(serverOf(towardsLegacy).instance.received.length, 1);
		});
});
