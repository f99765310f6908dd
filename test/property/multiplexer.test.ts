/** Seats at one server under random orders of everything: nothing crossed, nothing lost, nothing left. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { RpcId } from '../../src/mcp/jsonrpc.ts';
import { LOG_LEVELS, severityOf } from '../../src/mcp/log-levels.ts';
import type { Company } from '../../src/mcp/multiplexer.ts';
import type { Rpc } from '../support/fake-launcher.ts';
import { SeatBench, type Sitter, settle, type Ticket } from '../support/seat-bench.ts';

const PROPERTY_MS = 8_000;
const RUNS = 10_000;
const SEATS = 3;

const KINDS = [
	'call',
	'call',
	'call',
	'answer',
	'answer',
	'progress',
	'cancel',
	'subscribe',
	'subscribe',
	'unsubscribe',
	'serve',
	'serve',
	'refuse',
	'update',
	'update',
	'level',
	'line',
	'line',
	'change',
	'news',
	'ask',
	'leave',
] as const;

interface Step {
	readonly kind: (typeof KINDS)[number];
	readonly seat: number;
	readonly pick: number;
	readonly id: RpcId;
}

// Few ids, resources and levels, so that they meet.
const URIS = ['a:1', 'a:2'];
const LEVELS = LOG_LEVELS.slice(0, 4);
const step: fc.Arbitrary<Step> = fc.record({
	kind: fc.constantFrom(...KINDS),
	seat: fc.nat({ max: SEATS - 1 }),
	pick: fc.nat({ max: 20 }),
	id: fc.constantFrom<RpcId>(0, 1, '1'),
});

interface Tracked {
	readonly ticket: Ticket;
	readonly mark: number;
	readonly person: Person;
	/** Of a request that the server does not see. */
	readonly own: boolean;
	cancelled: boolean;
}

/** Who has a seat, and what is known of it. */
class Person {
	readonly sitter: Sitter;
	left = false;
	level: number | undefined;
	/** What came of its subscriptions to a resource since it unsubscribed last. */
	readonly #subscribed = new Map<string, Ticket[]>();

	constructor(sitter: Sitter) {
		this.sitter = sitter;
	}

	subscribe(uri: string, ticket: Ticket): void {
		this.#subscribed.set(uri, [...(this.#subscribed.get(uri) ?? []), ticket]);
	}

	unsubscribe(uri: string): void {
		this.#subscribed.delete(uri);
	}

	/** Whether it was told that it is subscribed. */
	isSubscribed(uri: string): boolean {
		return (this.#subscribed.get(uri) ?? []).some(({ answers }) => answers[0]?.result !== undefined);
	}

	/** Whether it is subscribed, or waits to hear whether it is. */
	maySubscribe(uri: string): boolean {
		const failed = ({ answers, ends }: Ticket): boolean => ends > 0 && answers[0]?.result === undefined;
		return (this.#subscribed.get(uri) ?? []).some((ticket) => !failed(ticket));
	}
}

class World {
	readonly bench: SeatBench;
	readonly company: Company;
	readonly people: Person[] = [];
	/** Those who sit now, by seat; who leaves is followed by another. */
	readonly seated: Person[] = [];
	readonly calls: Tracked[] = [];
	/** Requests that the server has not answered, by its ids. */
	readonly open = new Map<number, Rpc>();
	readonly cancelled: number[] = [];
	readonly refusals: Rpc[] = [];
	/** What the server is subscribed to, and what it was told to log. */
	readonly subscribed = new Set<string>();
	level: number | undefined;
	asked = 0;
	said = 0;

	constructor(company: Company) {
		this.company = company;
		this.bench = new SeatBench(company);
		for (let i = 0; i < SEATS; i++) this.seat(i);
	}

	seat(at: number): void {
		const person = new Person(this.bench.sit());
		this.people.push(person);
		this.seated[at] = person;
	}

	/** The server reads what came. What is no call it does when `serve` says so, or at the end. */
	async hear(): Promise<void> {
		for (const message of await this.bench.heard()) {
			if (message.method === 'notifications/cancelled') this.cancelled.push(Number(message.params?.['requestId']));
			else if (message.method === undefined) this.refusals.push(message);
			else this.open.set(Number(message.id), message);
		}
	}

	async do({ kind, seat, pick, id }: Step): Promise<void> {
		const person = this.seated[seat] ?? assert.fail();
		const uri = URIS[pick % URIS.length] ?? assert.fail();
		const at = <T>(items: readonly T[]): T | undefined => items[pick % Math.max(items.length, 1)];
		const toolCalls = [...this.open].filter(([, { method }]) => method === 'tools/call');
		const others = [...this.open].filter(([, { method }]) => method !== 'tools/call');
		switch (kind) {
			case 'call': {
				const mark = this.calls.length;
				const params = { name: 'x', mark, _meta: { progressToken: id } };
				this.#track(person, false, { id, method: 'tools/call', params });
				return this.hear();
			}
			case 'answer': {
				const found = at(toolCalls);
				return found === undefined ? undefined : this.answer(...found);
			}
			case 'progress': {
				const found = at(toolCalls);
				if (found === undefined) return;
				const params = { progressToken: found[0], progress: 1, mark: found[1].params?.['mark'] };
				return this.bench.say({ method: 'notifications/progress', params });
			}
			case 'cancel': {
				const found = at(this.calls.filter(({ ticket }) => ticket.ends === 0));
				if (found === undefined) return;
				found.cancelled = true;
				found.ticket.call?.cancel();
				return this.hear();
			}
			case 'subscribe':
				this.#track(person, true, { id, method: 'resources/subscribe', params: { uri } });
				person.subscribe(uri, this.calls.at(-1)?.ticket ?? assert.fail());
				return this.hear();
			case 'unsubscribe':
				person.unsubscribe(uri);
				this.#track(person, true, { id, method: 'resources/unsubscribe', params: { uri } });
				return this.hear();
			case 'serve': {
				const found = at(others);
				return found === undefined ? undefined : this.serve(...found);
			}
			case 'refuse': {
				const found = at(others.filter(([, { method }]) => method === 'resources/subscribe'));
				if (found === undefined) return;
				this.open.delete(found[0]);
				return this.bench.say({ id: found[0], error: { code: -1, message: 'no' } });
			}
			case 'update':
				return this.#update(uri);
			case 'level':
				// Nobody is asked what it wants to hear where nobody hears anything.
				if (this.company === 'principal') person.level = pick % LEVELS.length;
				this.#track(person, true, { id, method: 'logging/setLevel', params: { level: at(LEVELS) } });
				return this.hear();
			case 'line':
				return this.#line(LEVELS[pick % LEVELS.length] ?? assert.fail());
			case 'change':
			case 'news':
				return this.#tellAll(kind === 'change' ? 'notifications/tools/list_changed' : 'acme/news');
			case 'ask':
				this.asked += 1;
				return this.bench.say({ id: `q${this.asked}`, method: 'roots/list' });
			case 'leave':
				person.left = true;
				person.sitter.seat.leave();
				this.seat(seat);
				return this.hear();
		}
	}

	async answer(id: number, { params }: Rpc): Promise<void> {
		this.open.delete(id);
		await this.bench.say({ id, result: { mark: params?.['mark'] } });
	}

	/** Does what it was asked, and says so. */
	async serve(id: number, { method, params }: Rpc): Promise<void> {
		this.open.delete(id);
		if (method === 'resources/subscribe') this.subscribed.add(String(params?.['uri']));
		else if (method === 'resources/unsubscribe') this.subscribed.delete(String(params?.['uri']));
		else this.level = severityOf(params?.['level']);
		await this.bench.say({ id, result: {} });
		await this.hear();
	}

	#track(person: Person, own: boolean, message: Rpc): void {
		const mark = this.calls.length;
		this.calls.push({ ticket: person.sitter.send(message), mark, person, own, cancelled: false });
	}

	/** Says what belongs to no call. Resolves with those who were told. */
	async #say(method: string, params: Record<string, unknown> = {}): Promise<readonly Person[]> {
		this.said += 1;
		await this.bench.say({ method, params: { ...params, said: this.said } });
		const has = ({ sitter }: Person): boolean =>
			sitter.standing.some((message) => message.params?.['said'] === this.said);
		return this.people.filter(has);
	}

	async #update(uri: string): Promise<void> {
		const told = await this.#say('notifications/resources/updated', { uri });
		for (const person of told) {
			assert.ok(!person.left, 'told after it left');
			assert.ok(person.maySubscribe(uri), 'told of what it did not subscribe to');
		}
		for (const person of this.seated)
			if (person.isSubscribed(uri)) assert.ok(told.includes(person), 'not told of what it subscribed to');
	}

	async #line(level: string): Promise<void> {
		const severity = severityOf(level);
		const told = await this.#say('notifications/message', { level, data: 'x' });
		const inCalls = this.calls.filter(({ ticket }) => ticket.told.some(({ params }) => params?.['said'] === this.said));
		if (this.company === 'shared') return assert.deepEqual([told.length, inCalls.length], [0, 0]);
		for (const { level: wanted = 0 } of [...told, ...inCalls.map(({ person }) => person)])
			assert.ok(severity >= wanted, 'a line that is less than it wants');
		if (inCalls.length > 0) return assert.deepEqual([told.length, inCalls.length], [0, 1]);
		for (const person of this.seated)
			if (person.level !== undefined && severity >= person.level) assert.ok(told.includes(person), 'a line was lost');
	}

	async #tellAll(method: string): Promise<void> {
		const told = await this.#say(method);
		assert.deepEqual(
			told,
			method === 'acme/news' && this.company === 'shared' ? [] : this.people.filter(({ left }) => !left),
		);
	}

	/** Everything that can end ends. */
	async finish(): Promise<void> {
		for (;;) {
			await this.hear();
			const [found] = this.open;
			if (found === undefined) break;
			if (found[1].method === 'tools/call') await this.answer(...found);
			else await this.serve(...found);
		}
	}

	check(): void {
		for (const { ticket, mark, own, person, cancelled } of this.calls) {
			assert.deepEqual([ticket.ends, ticket.announced], [1, 1], 'every request ends once');
			for (const answer of ticket.answers) {
				assert.strictEqual(answer.id, ticket.id);
				if (!own) assert.equal(answer.result?.['mark'], mark, 'crossed');
			}
			if (ticket.drops > 0) assert.ok(cancelled);
			if (ticket.failures.length > 0) assert.ok(person.left);
			for (const { method, params } of ticket.told)
				if (method === 'notifications/progress')
					assert.deepEqual([params?.['mark'], params?.['progressToken']], [mark, ticket.id]);
				else assert.equal(method, 'notifications/message');
		}
		for (const { sitter } of this.people)
			for (const { method } of sitter.standing) assert.notEqual(method, 'notifications/progress');
		assert.equal(new Set(this.cancelled).size, this.cancelled.length, 'cancelled twice');
		const ended = this.calls.filter(({ ticket, own }) => !own && ticket.answers.length === 0);
		assert.equal(this.cancelled.length, ended.length, 'the server hears of every call that nobody waits for');
		assert.equal(this.refusals.length, this.asked, 'every question is answered, once');
	}

	/** The server is told what all of them want together, and nothing more. */
	checkWants(): void {
		for (const uri of URIS) {
			if (this.seated.some((person) => person.isSubscribed(uri))) assert.ok(this.subscribed.has(uri), 'not subscribed');
			if (this.subscribed.has(uri))
				assert.ok(
					this.seated.some((person) => person.isSubscribed(uri)),
					'left subscribed',
				);
		}
		const levels = this.seated.map(({ level }) => level);
		if (levels.every((level) => level === undefined)) return;
		assert.equal(this.level, Math.min(...levels.map((level) => level ?? severityOf('info'))));
	}
}

describe('seats at one server, in any order of events', () => {
	for (const company of ['principal', 'shared'] as const) {
		test(`${company}: nothing crossed, nothing lost, nothing left`, async () => {
			let orders = 0;
			await fc.assert(
				fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
					orders += 1;
					const world = new World(company);
					for (const one of steps) await world.do(one);
					await world.finish();
					world.checkWants();
					for (const { sitter } of world.seated) assert.equal(sitter.seat.inFlight, 0);
					world.check();
					for (const person of world.seated) {
						person.left = true;
						person.sitter.seat.leave();
					}
					await world.finish();
					assert.equal(world.bench.multiplexer.size, 0);
					assert.equal(world.bench.upstream.inFlight, 0);
					assert.deepEqual([...world.subscribed], [], 'a subscription is left');
					await world.bench.stop();
					await settle();
				}),
				{ numRuns: RUNS, interruptAfterTimeLimit: PROPERTY_MS },
			);
			assert.ok(orders > 50, `${orders} orders`);
		});
	}
});
