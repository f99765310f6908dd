/**
 * A server that outlives its Instances, for one conversation of the first era: an Instance that has ended, or was
 * stopped because nobody used it, is followed by a new one at the client's next request, which is told first what the
 * client told the one before: its `initialize`, its log level, its subscriptions.
 *
 * What was in flight is not repeated: it may have had effects.
 */
import type { Patience } from '../channel.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import { BRIDGE_LIMITS, INSTANCE_LIMITS, SESSION_LIMITS } from '../limits.ts';
import { takeOut } from '../slots.ts';
import type { Call, CallOptions, LegacyServer, Standing } from './exchange.ts';
import { isObject, type NotificationMessage, notificationText, own, type RequestMessage } from './jsonrpc.ts';
import { type Answer, ask } from './own-request.ts';
import { withAnswer } from './passing.ts';
import { PendingCall } from './pending-call.ts';
import type { SessionMemory } from './session-memory.ts';
import { type ListPage, pageOf, SNAPSHOT_LISTS, type Snapshot } from './snapshot.ts';
import { memberText } from './text.ts';

/** A conversation with one Instance, which has answered the client's `initialize`. */
export interface Sitting {
	readonly server: LegacyServer;
	readonly answer: Answer;
	readonly build: {
		/** What the Instance was made of, as far as that is known. */
		readonly spec: string | undefined;
		/** Whether Instances that are made now are others. */
		readonly stale: boolean;
	};
	/** Resolves when the Instance is gone. */
	end(patience: Patience): Promise<void>;
}

export interface LastingServerOptions {
	/** The name of the server. */
	readonly name: string;
	readonly memory: SessionMemory;
	/** The sitting in which the client's `initialize` was answered; undefined when that was in another process. */
	readonly first: Sitting | undefined;
	/** Begins a conversation with a new Instance, with the client's own `initialize`. Rejects with a SlipwayError. */
	readonly open: () => Promise<Sitting>;
	/** What a server that is made of the same has said to such a client before anybody called anything of it. */
	readonly snapshot: () => Snapshot | undefined;
	/** What Instances are made of now; undefined while that is not known. */
	readonly specNow: () => string | undefined;
	readonly callTimeoutMs: number;
	/** An Instance that nobody calls for so long is stopped. */
	readonly idleStopMs: number;
	/** Where goes what belongs to no request. */
	readonly standing: Standing;
	/** What is remembered has changed. */
	readonly onMemory: () => void;
	/** An Instance has ended otherwise than it should. */
	readonly onLost: (reason: SlipwayError) => void;
}

/** The lists that may change, by the capability that says that a server has one. */
const LIST_CHANGES = Object.freeze({
	tools: 'notifications/tools/list_changed',
	prompts: 'notifications/prompts/list_changed',
	resources: 'notifications/resources/list_changed',
});

/**
 * INVARIANTS:
 * - At most one Instance takes requests; those that are retiring finish what they have.
 * - Every request ends once, also when its Instance cannot be started or ends.
 * - After `close` there is no Instance, and none comes any more.
 */
export class LastingServer implements LegacyServer {
	readonly ended: Promise<SlipwayError>;
	readonly #options: LastingServerOptions;
	readonly #end = Promise.withResolvers<SlipwayError>();
	/** Requests that wait for an Instance. */
	readonly #waiting = new Set<PendingCall>();
	/** Those that finish what they have. */
	readonly #retiring = new Set<Sitting>();
	/** What must not speak now: the ways back, by who wants it. */
	readonly #holds: (() => void)[][] = [];
	readonly #subscriptions: Map<string, string>;
	#logLevel: string | undefined;
	/** What the client last heard of; empty when it does not matter, and when it was told to look at what comes next. */
	#spec: string;
	#current: Sitting | undefined;
	/** What the last Instance of this process said to `initialize`. */
	#answer: Answer | undefined;
	#opening: Promise<Sitting> | undefined;
	/** Whether the Instance at hand was told that the client is ready. */
	#greeted = false;
	/** The pages of lists that the client was told without an Instance, as it was told them. */
	readonly #told = new Map<string, { readonly page: ListPage; readonly result: string }>();
	#activeAtMs = performance.now();
	/** A task that the Instance at hand has begun may go on until then. */
	#busyUntilMs = 0;
	/** Whether its client was heard of since it gave its Instance back. */
	#attended = true;
	/** An Instance that only subscriptions want is not tried to be had sooner. */
	#retryAtMs = 0;
	#over: SlipwayError | undefined;
	#closing: Promise<void> | undefined;

	constructor(options: LastingServerOptions) {
		this.#options = options;
		this.ended = this.#end.promise;
		const { logLevel, subscriptions, spec } = options.memory;
		this.#logLevel = logLevel;
		this.#subscriptions = new Map(subscriptions);
		this.#spec = spec === '' ? (options.first?.build.spec ?? '') : spec;
		if (options.first !== undefined) this.#sit(options.first);
	}

	get inFlight(): number {
		let count = this.#waiting.size + (this.#current?.server.inFlight ?? 0);
		for (const { server } of this.#retiring) count += server.inFlight;
		return count;
	}

	/** Whether it has an Instance, or one is on its way. */
	get awake(): boolean {
		return this.#current !== undefined || this.#opening !== undefined || this.#retiring.size > 0;
	}

	get memory(): SessionMemory {
		const { initialize, revision } = this.#options.memory;
		return {
			initialize,
			revision,
			spec: this.#spec,
			logLevel: this.#logLevel,
			subscriptions: [...this.#subscriptions],
		};
	}

	request(text: string, message: RequestMessage, options: CallOptions): Call {
		this.#assertOpen();
		this.#activeAtMs = performance.now();
		this.#attended = true;
		if (this.#current !== undefined) return this.#send(this.#current, text, message, options);
		const known = this.#opening === undefined ? this.#findPage(message) : undefined;
		if (known !== undefined) return tell(known, message, options);
		// The Instance would take no more of them.
		if (this.#waiting.size >= SESSION_LIMITS.inFlightMax)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
		const call = new PendingCall(() => {
			this.#waiting.delete(call);
			options.onEnd?.();
			options.exchange.drop();
		});
		this.#waiting.add(call);
		this.#wake().then(
			(sitting) => {
				this.#waiting.delete(call);
				if (!call.over) this.#hand(call, () => this.#send(sitting, text, message, options), message, options);
			},
			(error: unknown) => {
				this.#waiting.delete(call);
				this.#fail(call, message, options, error);
			},
		);
		return call;
	}

	notify(text: string, message: NotificationMessage): void {
		this.#assertOpen();
		const { method } = message;
		if (method === 'notifications/initialized') {
			if (this.#greeted) return;
			this.#greeted = true;
		}
		// An Instance that is still to come is told all that matters then.
		this.#current?.server.notify(text, message);
	}

	hold(): () => void {
		const releases = [...this.#retiring, ...this.#currents].map(({ server }) => server.hold());
		this.#holds.push(releases);
		return () => {
			takeOut(this.#holds, releases);
			for (const release of releases.splice(0)) release();
		};
	}

	/** Stops an Instance that nobody uses, or that is not what it should be any more. To be called every second or so. */
	tick(nowMs: number): void {
		for (const sitting of this.#retiring) if (sitting.server.inFlight === 0) void this.#dismiss(sitting, 'patient');
		if (this.#current !== undefined) this.#lookAt(this.#current);
		if (this.#current === undefined) this.#whileAsleep(nowMs);
		else if (this.inFlight > 0 || this.#subscriptions.size > 0 || nowMs < this.#busyUntilMs) this.#activeAtMs = nowMs;
		else if (nowMs - this.#activeAtMs > this.#options.idleStopMs) void this.rest('patient');
	}

	/** Who waits to hear of a change, or of a resource, asks for nothing, and is not to wait in vain. */
	#whileAsleep(nowMs: number): void {
		const spec = this.#options.specNow();
		if (this.#opening === undefined && spec !== undefined && this.#spec !== '' && spec !== this.#spec) {
			this.#spec = spec;
			this.#options.onMemory();
			this.#tellChanged(this.#answer);
		}
		if (this.#subscriptions.size === 0 || !this.#attended || this.#over !== undefined) return;
		if (this.#opening !== undefined || nowMs < this.#retryAtMs) return;
		this.#retryAtMs = nowMs + INSTANCE_LIMITS.subscribedRetryMs;
		this.#wake().catch(() => undefined);
	}

	/** Gives the Instance back. The next request gets another one. */
	async rest(patience: Patience): Promise<void> {
		this.#attended = false;
		await Promise.all([...this.#retiring, ...this.#currents].map((sitting) => this.#dismiss(sitting, patience)));
	}

	/** Ends it all. Resolves when nothing of it is left. */
	close(patience: Patience, reason = new SlipwayError('SLIPWAY_SESSION_ENDED')): Promise<void> {
		this.#closing ??= this.#close(patience, reason);
		return this.#closing;
	}

	async #close(patience: Patience, reason: SlipwayError): Promise<void> {
		this.#over = reason;
		this.#end.resolve(reason);
		const opening = this.#opening?.catch(() => undefined);
		await this.rest(patience);
		await opening;
		await this.rest(patience);
	}

	/** The Instance at hand, if there is one. */
	get #currents(): Sitting[] {
		return this.#current === undefined ? [] : [this.#current];
	}

	#assertOpen(): void {
		if (this.#over !== undefined) throw this.#over;
	}

	/** The Instance at hand, or a new one. One is begun at a time. */
	#wake(): Promise<Sitting> {
		this.#opening ??= this.#open().finally(() => {
			this.#opening = undefined;
		});
		return this.#opening;
	}

	async #open(): Promise<Sitting> {
		const sitting = await this.#options.open();
		const fault = this.#over ?? this.#faultOf(sitting);
		if (fault !== undefined) {
			await sitting.end('prompt');
			throw fault;
		}
		this.#sit(sitting);
		this.#greet(sitting);
		this.#compare(sitting);
		return sitting;
	}

	/** What keeps the session from going on with this Instance. */
	#faultOf({ answer: { message } }: Sitting): SlipwayError | undefined {
		if (!message.ok) return new SlipwayError('SLIPWAY_HANDSHAKE_REFUSED', { reason: message.error.message });
		const revision = isObject(message.result) ? own(message.result, 'protocolVersion') : undefined;
		if (revision === this.#options.memory.revision) return undefined;
		// Another build, with other revisions: the client has to begin anew.
		const reason = new SlipwayError('SLIPWAY_SESSION_UNKNOWN');
		void this.close('prompt', reason);
		return reason;
	}

	#sit(sitting: Sitting): void {
		this.#current = sitting;
		this.#answer = sitting.answer;
		this.#greeted = false;
		this.#busyUntilMs = 0;
		this.#activeAtMs = performance.now();
		for (const releases of this.#holds) releases.push(sitting.server.hold());
		void sitting.server.ended.then((reason) => {
			this.#forget(sitting);
			if (reason.code !== 'SLIPWAY_SESSION_ENDED') this.#options.onLost(reason);
		});
	}

	/** Tells a new Instance what the client told the one before. */
	#greet(sitting: Sitting): void {
		const { server, answer } = sitting;
		const method = 'notifications/initialized';
		this.#greeted = true;
		server.notify(notificationText(method), { kind: 'notification', method, params: undefined });
		if (this.#logLevel !== undefined && own(capabilitiesOf(answer), 'logging') !== undefined)
			this.#repeat(server, 'logging/setLevel', { level: this.#logLevel });
		for (const uri of this.#subscriptions.keys()) this.#repeat(server, 'resources/subscribe', { uri });
		this.#tellIfOther(sitting);
	}

	/** Tells an Instance what another one has accepted. */
	#repeat(server: LegacyServer, method: string, params: object): void {
		ask(server, method, params, { timeoutMs: this.#options.callTimeoutMs }).catch(() => undefined);
	}

	/** Is it what it should be, and what the client takes it for? */
	#lookAt(sitting: Sitting): void {
		this.#tellIfOther(sitting);
		if (!sitting.build.stale) return;
		// Its calls may finish; new ones go to an Instance that is as it should be.
		this.#current = undefined;
		this.#retiring.add(sitting);
		this.#spec = '';
		this.#options.onMemory();
		this.#tellChanged(sitting.answer);
		if (sitting.server.inFlight === 0) void this.#dismiss(sitting, 'patient');
	}

	/** It may have other things than those that the client has heard of. */
	#tellIfOther({ build: { spec }, answer }: Sitting): void {
		if (spec === undefined || spec === this.#spec) return;
		const isFirst = this.#spec === '';
		this.#spec = spec;
		this.#options.onMemory();
		if (!isFirst) this.#tellChanged(answer);
	}

	/** The client is told to look at the lists: those that the server said it has, where it said so to this process. */
	#tellChanged(answer: Answer | undefined): void {
		const capabilities = answer === undefined ? LIST_CHANGES : capabilitiesOf(answer);
		for (const [capability, method] of Object.entries(LIST_CHANGES))
			if (own(capabilities, capability) !== undefined)
				this.#options.standing.send(notificationText(method), { kind: 'notification', method, params: undefined });
	}

	#dismiss(sitting: Sitting, patience: Patience): Promise<void> {
		this.#forget(sitting);
		return sitting.end(patience);
	}

	#forget(sitting: Sitting): void {
		this.#retiring.delete(sitting);
		if (this.#current === sitting) this.#current = undefined;
	}

	#hand(call: PendingCall, send: () => Call, message: RequestMessage, options: CallOptions): void {
		try {
			call.hand(send());
		} catch (error) {
			this.#fail(call, message, options, error);
		}
	}

	#fail(call: PendingCall, { id }: RequestMessage, { exchange, onEnd }: CallOptions, error: unknown): void {
		if (!call.finish()) return;
		onEnd?.();
		exchange.fail(id, toSlipwayError(error));
	}

	#send({ server }: Sitting, text: string, message: RequestMessage, options: CallOptions): Call {
		const isTask = own(message.params ?? {}, 'task') !== undefined;
		if (!isTask && !NOTED.has(message.method)) return server.request(text, message, options);
		const exchange = withAnswer(options.exchange, (answer) => {
			if (answer.message.ok && isTask) this.#noteTask(answer.message.result);
			else if (answer.message.ok) this.#note(message, server);
			return answer;
		});
		return server.request(text, message, { ...options, exchange });
	}

	/** The task may go on when nobody asks for it, for as long as the server keeps it. */
	#noteTask(result: unknown): void {
		const task = isObject(result) ? own(result, 'task') : undefined;
		if (!isObject(task)) return;
		const ttlMs = own(task, 'ttl');
		const keptMs = Math.min(typeof ttlMs === 'number' ? ttlMs : SESSION_LIMITS.absoluteMs, SESSION_LIMITS.absoluteMs);
		this.#busyUntilMs = Math.max(this.#busyUntilMs, performance.now() + keptMs);
	}

	/** A page of a list that is known without an Instance. */
	#findPage(message: RequestMessage): string | undefined {
		const page = pageOf(message);
		const result = page === undefined ? undefined : this.#options.snapshot()?.find(page);
		if (page !== undefined && result !== undefined) this.#told.set(JSON.stringify(page), { page, result });
		return result;
	}

	/** What the client was told without an Instance is looked at when there is one; it is told what has changed. */
	#compare(sitting: Sitting): void {
		const told = [...this.#told.values()];
		this.#told.clear();
		const { callTimeoutMs: timeoutMs, standing } = this.#options;
		const changed = new Set<string>();
		for (const { page, result } of told) {
			const params = page.cursor === undefined ? {} : { cursor: page.cursor };
			ask(sitting.server, page.method, params, { timeoutMs }).then(
				({ text, message }) => {
					const now = message.ok ? (memberText(text, 'result') ?? '{}') : undefined;
					if (now === undefined || now === result) return;
					const method = SNAPSHOT_LISTS.get(page.method);
					if (method === undefined || changed.has(method)) return;
					changed.add(method);
					standing.send(notificationText(method), { kind: 'notification', method, params: undefined });
				},
				() => undefined,
			);
		}
	}

	#note({ method, params = {} }: RequestMessage, by: LegacyServer): void {
		const level = own(params, 'level');
		const uri = own(params, 'uri');
		if (method === 'logging/setLevel' && typeof level === 'string') this.#logLevel = level;
		else if (method === 'resources/unsubscribe' && typeof uri === 'string') this.#subscriptions.delete(uri);
		else if (
			method === 'resources/subscribe' &&
			typeof uri === 'string' &&
			this.#subscriptions.size < BRIDGE_LIMITS.subscriptionsMax
		)
			this.#subscriptions.set(uri, this.#options.name);
		else return;
		this.#options.onMemory();
		// One that is retiring has taken it; the one that came after it has not heard of it.
		if (this.#current !== undefined && this.#current.server !== by) this.#repeat(this.#current.server, method, params);
	}
}

/** Requests that are remembered when the server has taken them. */
const NOTED = new Set(['logging/setLevel', 'resources/subscribe', 'resources/unsubscribe']);

/** Answers a request with a result that is known. */
function tell(result: string, { id }: RequestMessage, { exchange, onEnd }: CallOptions): Call {
	const call = new PendingCall(() => {
		onEnd?.();
		exchange.drop();
	});
	// Not before the caller has its Call.
	queueMicrotask(() => {
		if (!call.finish()) return;
		onEnd?.();
		const text = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`;
		exchange.answer(text, { kind: 'response', id, ok: true, result: JSON.parse(result) });
	});
	return call;
}

function capabilitiesOf({ message }: Answer): object {
	const capabilities = message.ok && isObject(message.result) ? own(message.result, 'capabilities') : undefined;
	return isObject(capabilities) ? capabilities : {};
}
