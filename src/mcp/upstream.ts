/**
 * The Upstream: the JSON-RPC conversation over one Channel.
 *
 * Ids, progress tokens and the ids of subscriptions are rewritten in both directions, so that two clients, or one client
 * twice, may use the same one, and an answer that comes too late finds nobody. Texts pass as they are but for these
 * (text.ts).
 *
 * Where a server's message belongs (the protocol says it for the first three; for the rest the wire gives no relation):
 *   response             → the exchange of its request
 *   progress             → the exchange whose request carried the token
 *   of a subscription    → the exchange of its subscriptions/listen (2026-07-28)
 *   log line             → the newest tools/call in flight that takes it, else the newest such request
 *   question             → the same, but first whoever has the fewest to answer: of calls that ask at once, each has one
 *   anything else        → the standing stream of the conversation
 */
import { isUtf8 } from 'node:buffer';
import type { Channel, InstanceEnd } from '../channel.ts';
import { SlipwayError } from '../errors.ts';
import { SESSION_LIMITS, STDIO_LIMITS } from '../limits.ts';
import { Slots } from '../slots.ts';
import type { Call, CallOptions, Exchange, LegacyServer, Question, Standing } from './exchange.ts';
import {
	classify,
	errorText,
	isObject,
	type Message,
	metaOf,
	type NotificationMessage,
	notificationText,
	own,
	ownId,
	progressTokenOf,
	progressTokenOfNotification,
	type RequestMessage,
	type ResponseMessage,
	type RpcError,
	type RpcId,
	requestIdOfCancel,
} from './jsonrpc.ts';
import { LineSplitter } from './lines.ts';
import { SUBSCRIPTION_KEY } from './revisions.ts';
import { editMembers, replaceId } from './text.ts';

/** What a server is there for. */
const SERVICES = new Set(['tools/call', 'prompts/get', 'resources/read']);

/** How a call ended, for metrics and the log. */
export interface CallReport {
	readonly method: string;
	/** The name of the tool, with tools/call. */
	readonly tool: string | undefined;
	readonly durationMs: number;
	/** `ok`, `error` (the server's), `cancelled`, or a code of the error table. */
	readonly outcome: string;
}

export interface UpstreamObserver {
	onCall(report: CallReport): void;
	/** A line on stdout that is no JSON-RPC, and whether to tell of it: the first few of an Instance. Never its text. */
	onNoise(bytes: number, told: boolean): void;
	/** The tools that the server listed, as it described them, and what its Instance was made of. */
	onTools(tools: readonly unknown[], spec: string): void;
}

/** How much may be in flight at once. */
export interface CallBounds {
	readonly inFlightMax: number;
	/** Of requests that last as long as their client wants, beside those. */
	readonly lastingMax: number;
}

export interface UpstreamOptions {
	readonly standing: Standing;
	readonly observer: UpstreamObserver;
	/** Those of a session, unless several have the Instance together. */
	readonly bounds?: CallBounds;
}

interface InFlight {
	/** The client's id. */
	readonly id: RpcId;
	readonly wireId: number;
	readonly method: string;
	readonly tool: string | undefined;
	readonly exchange: Exchange;
	/** The client's. The server's is the wire id. */
	readonly progressToken: RpcId | undefined;
	readonly startedAtMs: number;
	readonly timeoutMs: number;
	readonly onEnd: (() => void) | undefined;
	deadlineMs: number;
	/** Questions that were given to this call and are not answered. */
	questions: number;
	/** The place of its last sign of life among those of all calls: its request, and every answer to a question of it. */
	newness: number;
	/** How many chunks had come from the server when it was sent. */
	readonly chunksBefore: number;
}

/** A question that the server waits for the answer of. */
interface Asked extends Question {
	/** Who has it, if not the conversation as a whole. That call may be over. */
	call: InFlight | undefined;
	/** The last call that the server had been sent when it asked: a later one is not why. */
	readonly lastWireId: number;
	readonly askedAtMs: number;
}

/**
 * INVARIANTS:
 * - Every call that `request` took ends exactly once: answer, fail or drop of its exchange.
 * - After the Channel ended there is no call in flight, and `request` throws.
 * - No timer of its own: the owner calls `tick`.
 */
export class Upstream implements LegacyServer {
	readonly channel: Channel;
	/** Resolves with the reason when the conversation is over. */
	readonly ended: Promise<SlipwayError>;
	readonly #standing: Standing;
	readonly #observer: UpstreamObserver;
	readonly #bounds: CallBounds;
	readonly #lines: LineSplitter;
	readonly #calls = new Slots<number, InFlight>();
	readonly #questions = new Set<Asked>();
	#lastId = 0;
	#lastNewness = 0;
	#outgoing = '';
	#flushing = false;
	#holds = 0;
	#opened = false;
	#served = false;
	#calledAtMs = Number.NEGATIVE_INFINITY;
	/** What `_meta` of every message to a server of the second era holds. */
	#envelope: object | undefined;
	/** Calls without a deadline. */
	#lasting = 0;
	#over: SlipwayError | undefined;
	/** Why we ended the Instance, where it was not its own doing. */
	#fault: SlipwayError | undefined;
	#stdinStuckSinceMs: number | undefined;
	/** What came from the server, in whatever pieces and of whatever kind. */
	#chunks = 0;
	/** Since then: how many calls ran out of time, each sent after the one before had; and the last that was sent by now. */
	#silence = { timeouts: 0, lastWireId: 0 };
	#noise = { windowStartMs: 0, lines: 0, told: 0 };

	constructor(channel: Channel, { standing, observer, bounds = SESSION_LIMITS }: UpstreamOptions) {
		this.channel = channel;
		this.#bounds = bounds;
		this.#standing = standing;
		this.#observer = observer;
		this.#lines = new LineSplitter(
			{ line: (line) => this.#take(line), tooLong: () => this.#abandon(new SlipwayError('SLIPWAY_LINE_TOO_LONG')) },
			STDIO_LIMITS.lineBytesMax,
		);
		channel.stream.on('data', (chunk: Buffer) => {
			this.#chunks += 1;
			this.#silence = { timeouts: 0, lastWireId: 0 };
			this.#lines.push(chunk);
		});
		channel.stream.on('error', () => undefined);
		this.ended = channel.ended.then((end) => this.#close(this.#explain(end)));
	}

	/** Whether the conversation is over: `request` throws. */
	get over(): boolean {
		return this.#over !== undefined;
	}

	/** Whether it has done for a client what it is there for, and not only said what that is. */
	get served(): boolean {
		return this.#served;
	}

	/** When it was sent a request last. */
	get calledAtMs(): number {
		return this.#calledAtMs;
	}

	/** Calls in flight that will end by themselves. */
	get inFlight(): number {
		return this.#calls.size - this.#lasting;
	}

	/**
	 * The server has said what it speaks; from here on its calls fail each for itself.
	 *
	 * @param envelope what `_meta` of every message must hold, for a server of the second era
	 */
	opened(envelope?: object): void {
		this.#opened = true;
		this.#envelope = envelope;
	}

	/**
	 * Sends a client's request to the server.
	 *
	 * @throws SlipwayError SLIPWAY_CALLS_FULL, SLIPWAY_STDIN_STALL, or why the conversation is over
	 */
	request(text: string, message: RequestMessage, { exchange, timeoutMs, onEnd }: CallOptions): Call {
		this.#assertOpen();
		const lasting = timeoutMs === Number.POSITIVE_INFINITY;
		if (lasting ? this.#lasting >= this.#bounds.lastingMax : this.inFlight >= this.#bounds.inFlightMax)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
		const wireId = ++this.#lastId;
		const progressToken = progressTokenOf(message.params);
		this.#write(
			progressToken === undefined ? replaceId(text, message.id, wireId) : withIdAndProgressToken(text, wireId),
		);
		const startedAtMs = performance.now();
		this.#calledAtMs = startedAtMs;
		const call: InFlight = {
			id: message.id,
			wireId,
			method: message.method,
			tool: message.method === 'tools/call' ? stringMember(message.params, 'name') : undefined,
			exchange,
			progressToken,
			startedAtMs,
			timeoutMs,
			onEnd,
			deadlineMs: startedAtMs + timeoutMs,
			questions: 0,
			newness: ++this.#lastNewness,
			chunksBefore: this.#chunks,
		};
		this.#calls.set(wireId, call);
		if (lasting) this.#lasting += 1;
		return { cancel: (params) => this.#cancel(call, params) };
	}

	/** Sends a client's notification; not one that cancels a call, whose id the server does not know. */
	notify(text: string): void {
		this.#assertOpen();
		this.#write(text);
	}

	/** Stops reading from the server until the way back is called: some client of it is behind. */
	hold(): () => void {
		this.#holds += 1;
		this.channel.stream.pause();
		let held = true;
		return () => {
			if (!held) return;
			held = false;
			this.#holds -= 1;
			if (this.#holds === 0) this.channel.stream.resume();
		};
	}

	/** Ends calls whose time is over, and a server that does not read its stdin. To be called every second or so. */
	tick(nowMs: number): void {
		const lastWaitingId = this.#lastWaitingId(nowMs);
		for (const call of this.#calls.values())
			if (isOverdue(call, nowMs, call.wireId <= lastWaitingId)) this.#timeOut(call, lastWaitingId > 0);
		if (this.channel.stream.writableLength < STDIO_LIMITS.stdinQueuedBytesMax / 2) this.#stdinStuckSinceMs = undefined;
		else this.#stdinStuckSinceMs ??= nowMs;
		if (this.#stdinStuckSinceMs !== undefined && nowMs - this.#stdinStuckSinceMs > STDIO_LIMITS.stdinStallMs) {
			this.#abandon(new SlipwayError('SLIPWAY_STDIN_STALL'));
		}
	}

	#assertOpen(): void {
		const reason = this.#over ?? this.#fault;
		if (reason !== undefined) throw reason;
	}

	#write(text: string): void {
		const queued = this.channel.stream.writableLength + this.#outgoing.length;
		if (queued > STDIO_LIMITS.stdinQueuedBytesMax) throw new SlipwayError('SLIPWAY_STDIN_STALL');
		this.#outgoing += `${text}\n`;
		if (this.#flushing) return;
		this.#flushing = true;
		// One write for all that comes in one turn of the event loop.
		setImmediate(() => this.#flush());
	}

	/** What no client sent, and nobody can be told of: a server that does not read does without it. */
	#tryWrite(text: string): void {
		try {
			this.#write(text);
		} catch {
			// The stall is dealt with by tick.
		}
	}

	#flush(): void {
		const outgoing = this.#outgoing;
		this.#outgoing = '';
		this.#flushing = false;
		if (this.#over === undefined && !this.channel.stream.writableEnded && !this.channel.stream.destroyed)
			this.channel.stream.write(outgoing);
	}

	#take(line: Buffer): void {
		if (!isUtf8(line)) return this.#countNoise(line);
		const text = line.toString('utf8');
		let value: unknown;
		try {
			value = JSON.parse(text);
		} catch {
			return this.#countNoise(line);
		}
		// Revision 2025-03-26 lets a server answer in batches. Their members go their own ways from here.
		if (Array.isArray(value))
			for (const member of value) this.#dispatch(classify(member), JSON.stringify(member), line);
		else this.#dispatch(classify(value), text, line);
	}

	#dispatch(message: Message | undefined, text: string, line: Buffer): void {
		switch (message?.kind) {
			case undefined:
				return this.#countNoise(line);
			case 'response':
				return this.#answer(message, text);
			case 'request':
				return this.#ask(message, text);
			case 'notification':
				return this.#tell(message, text);
		}
	}

	#answer(message: ResponseMessage, text: string): void {
		const call = this.#callOf(message.id);
		// Too late, doubled, or never asked for: nobody waits for it.
		if (call === undefined) return;
		this.#finish(call, message.ok ? 'ok' : 'error');
		if (call.method === 'tools/list' && message.ok) this.#observer.onTools(toolsOf(message.result), this.channel.spec);
		const answer = replaceId(text, message.id, call.id);
		const subscribed = message.ok && subscriptionIdOf(message.result) !== undefined;
		call.exchange.answer(subscribed ? withSubscriptionId(answer, 'result', call.id) : answer, message);
	}

	#ask(message: RequestMessage, text: string): void {
		const question: Asked = {
			message,
			text,
			call: undefined,
			lastWireId: this.#lastId,
			askedAtMs: performance.now(),
			answer: (answer, { id }) => {
				if (this.#settle(question)) this.#write(replaceId(answer, id, message.id));
			},
			refuse: (error) => {
				if (this.#settle(question)) this.#tryWrite(errorText(message.id, error));
			},
			handOn: () => {
				if (this.#over !== undefined || !this.#forget(question)) return;
				this.#questions.add(question);
				this.#put(question);
			},
			onWithdrawn: undefined,
		};
		const full = this.#questions.size >= SESSION_LIMITS.questionsMax;
		this.#questions.add(question);
		if (full) question.refuse(refusal());
		else this.#put(question);
	}

	/** Gives a question to whoever it most likely belongs to, of those who can be asked it. */
	#put(question: Asked): void {
		const call = this.#bestThatTakes(question.message, isFreer);
		question.call = call;
		question.onWithdrawn = undefined;
		if (call !== undefined) {
			call.questions += 1;
			call.exchange.ask(question);
		} else if (!this.#standing.ask(question)) question.refuse(refusal());
	}

	#tell(message: NotificationMessage, text: string): void {
		switch (message.method) {
			case 'notifications/progress':
				return this.#progress(message, text);
			case 'notifications/message': {
				const call = this.#bestThatTakes(message, isLikelier);
				if (call === undefined) this.#standing.send(text, message);
				else call.exchange.tell(text, message);
				return;
			}
			case 'notifications/cancelled':
				return this.#withdraw(message);
			default: {
				const subscription = subscriptionIdOf(message.params);
				if (subscription === undefined) this.#standing.send(text, message);
				else this.#tellSubscriber(this.#callOf(subscription), text, message);
			}
		}
	}

	#tellSubscriber(call: InFlight | undefined, text: string, message: NotificationMessage): void {
		if (call !== undefined) call.exchange.tell(withSubscriptionId(text, 'params', call.id), message);
	}

	#progress(message: NotificationMessage, text: string): void {
		const call = this.#callOf(progressTokenOfNotification(message.params));
		const token = call?.progressToken;
		// Late progress belongs to nobody.
		if (call === undefined || token === undefined) return;
		call.deadlineMs = performance.now() + call.timeoutMs;
		const progressToken = JSON.stringify(token);
		call.exchange.tell(
			editMembers(text, { params: (params = '{}') => editMembers(params, { progressToken }) }),
			message,
		);
	}

	/** The server withdraws a question, or ends a subscription. */
	#withdraw(message: NotificationMessage): void {
		const serverId = requestIdOfCancel(message.params);
		for (const question of this.#questions) {
			if (question.message.id !== serverId) continue;
			this.#forget(question);
			question.onWithdrawn?.(message.params);
			return;
		}
		const call = this.#callOf(serverId);
		// Of our ids a server may cancel those of subscriptions alone; any other is one of its own questions, answered by now.
		if (call === undefined || !lasts(call)) return;
		this.#finish(call, 'cancelled');
		call.exchange.drop();
	}

	#cancel(call: InFlight, params: object = {}): void {
		if (this.#calls.get(call.wireId) !== call) return;
		this.#finish(call, 'cancelled');
		this.#tellCancelled({ ...params, requestId: call.wireId });
		call.exchange.drop();
	}

	/** A server that was not opened yet might take it for the first word of the first era. */
	#tellCancelled(params: object): void {
		if (!this.#opened || this.#over !== undefined) return;
		const meta = this.#envelope === undefined ? {} : { _meta: this.#envelope };
		this.#tryWrite(notificationText('notifications/cancelled', { ...params, ...meta }));
	}

	#timeOut(call: InFlight, isAsking: boolean): void {
		// They hear of it when the Instance has ended.
		if (this.#fault !== undefined) return;
		// A server that may wait for an answer is right to say nothing.
		if (call.chunksBefore === this.#chunks && !isAsking) this.#countSilence(call);
		if (!this.#opened) return this.#abandon(new SlipwayError('SLIPWAY_START_TIMEOUT'));
		if (this.#silence.timeouts >= STDIO_LIMITS.silentTimeoutsMax)
			return this.#abandon(new SlipwayError('SLIPWAY_INSTANCE_STALLED'));
		const error = new SlipwayError('SLIPWAY_CALL_TIMEOUT', {
			reason: `It had ${Math.round((performance.now() - call.startedAtMs) / 1000)} s.`,
		});
		this.#finish(call, error.code);
		this.#tellCancelled({ requestId: call.wireId, reason: 'timeout' });
		call.exchange.fail(call.id, error);
	}

	/** One silence counts once, however many calls were sent into it at a time: they may all be slow. */
	#countSilence(call: InFlight): void {
		const { timeouts, lastWireId } = this.#silence;
		// Of a server that we do not read it says nothing.
		if (this.#holds > 0 || call.wireId <= lastWireId) return;
		this.#silence = { timeouts: timeouts + 1, lastWireId: this.#lastId };
	}

	#callOf(wireId: RpcId | undefined): InFlight | undefined {
		return typeof wireId === 'number' ? this.#calls.get(wireId) : undefined;
	}

	#finish(call: InFlight, outcome: string): void {
		this.#calls.delete(call.wireId);
		if (lasts(call)) this.#lasting -= 1;
		this.#served ||= outcome === 'ok' && SERVICES.has(call.method);
		call.onEnd?.();
		this.#observer.onCall({
			method: call.method,
			tool: call.tool,
			durationMs: performance.now() - call.startedAtMs,
			outcome,
		});
	}

	/** It is answered, so the server most likely goes on with its call. Returns false when nobody waited for it any more. */
	#settle(question: Asked): boolean {
		if (!this.#forget(question)) return false;
		if (question.call !== undefined) question.call.newness = ++this.#lastNewness;
		return true;
	}

	/** Returns false when nobody waited for it any more. */
	#forget(question: Asked): boolean {
		if (!this.#questions.delete(question)) return false;
		if (question.call !== undefined) question.call.questions -= 1;
		// The time in which the client thought does not count against the server.
		const nowMs = performance.now();
		for (const call of this.#calls.values())
			if (call.wireId <= lastThatWaits(question)) call.deadlineMs = Math.max(call.deadlineMs, nowMs + call.timeoutMs);
		return true;
	}

	/** Calls up to this one may be waiting for a client to answer, 0 for none. No question is waited for longer than calls. */
	#lastWaitingId(nowMs: number): number {
		let last = 0;
		for (const question of this.#questions)
			if (nowMs - question.askedAtMs < SESSION_LIMITS.callTimeoutMsMax) last = Math.max(last, lastThatWaits(question));
		return last;
	}

	#bestThatTakes(
		message: RequestMessage | NotificationMessage,
		isBetter: (call: InFlight, than: InFlight) => boolean,
	): InFlight | undefined {
		let best: InFlight | undefined;
		for (const call of this.#calls.values())
			if (call.exchange.takes(message) && (best === undefined || isBetter(call, best))) best = call;
		return best;
	}

	#countNoise(line: Buffer): void {
		const nowMs = performance.now();
		if (nowMs - this.#noise.windowStartMs > STDIO_LIMITS.noiseWindowMs) {
			this.#noise.windowStartMs = nowMs;
			this.#noise.lines = 0;
		}
		this.#noise.lines += 1;
		const told = this.#noise.told < STDIO_LIMITS.noiseToldMax;
		if (told) this.#noise.told += 1;
		this.#observer.onNoise(line.length, told);
		if (this.#noise.lines > STDIO_LIMITS.noiseLinesMax) this.#abandon(new SlipwayError('SLIPWAY_PROTOCOL_NOISE'));
	}

	/** Ends the Instance for a fault; the calls hear of it when it has ended, with the last of its stderr. */
	#abandon(fault: SlipwayError): void {
		if (this.#fault !== undefined || this.#over !== undefined) return;
		this.#fault = fault;
		this.#lines.close();
		this.channel.stream.resume();
		void this.channel.stop('prompt');
	}

	#explain(end: InstanceEnd): SlipwayError {
		const details = {
			server: this.channel.server,
			...(end.exitCode === undefined ? {} : { exitCode: end.exitCode }),
			...(end.stderr === '' ? {} : { stderr: end.stderr }),
		};
		if (this.#fault !== undefined) return new SlipwayError(this.#fault.code, details);
		switch (end.cause) {
			case 'stopped':
				return new SlipwayError('SLIPWAY_SESSION_ENDED', { server: this.channel.server });
			case 'oom':
				return new SlipwayError('SLIPWAY_INSTANCE_OOM', details);
			case 'lost':
				return new SlipwayError('SLIPWAY_INSTANCE_LOST', details);
			case 'frame':
				return new SlipwayError('SLIPWAY_FRAME_INVALID', details);
			case 'exited':
				if (this.#opened) return new SlipwayError('SLIPWAY_INSTANCE_EXITED', details);
				// What the container's init says when it cannot run the command.
				return new SlipwayError(
					end.exitCode === 126 || end.exitCode === 127 ? 'SLIPWAY_COMMAND_INVALID' : 'SLIPWAY_START_FAILED',
					details,
				);
		}
	}

	#close(reason: SlipwayError): SlipwayError {
		this.#over = reason;
		this.#lines.close();
		for (const call of [...this.#calls.values()]) {
			this.#finish(call, reason.code);
			call.exchange.fail(call.id, reason);
		}
		for (const question of [...this.#questions]) {
			this.#questions.delete(question);
			question.onWithdrawn?.(undefined);
		}
		return reason;
	}
}

function lasts({ timeoutMs }: InFlight): boolean {
	return timeoutMs === Number.POSITIVE_INFINITY;
}

/** A call that may be waiting for a client to answer has until the ceiling; any other until its deadline. */
function isOverdue(call: InFlight, nowMs: number, mayWait: boolean): boolean {
	if (lasts(call)) return false;
	if (nowMs - call.startedAtMs >= SESSION_LIMITS.callTimeoutMsMax) return true;
	return !mayWait && nowMs >= call.deadlineMs;
}

/**
 * The last call that a question may keep waiting. While a client is asked, that is every call, whoever has the question:
 * it may be of any, and there are servers that do one thing at a time. Before, those that the server had when it asked.
 */
function lastThatWaits({ call, lastWireId }: Asked): number {
	return call === undefined ? lastWireId : Number.POSITIVE_INFINITY;
}

/** Whether what belongs to one of the two belongs more likely to the first. */
function isLikelier(call: InFlight, than: InFlight): boolean {
	const [isTool, isOtherTool] = [call, than].map(({ method }) => method === 'tools/call');
	return isTool === isOtherTool ? call.newness > than.newness : isTool === true;
}

/** Whether one of the two is rather asked: the fewer questions it has, since those who ask at once have one each. */
function isFreer(call: InFlight, than: InFlight): boolean {
	return call.questions === than.questions ? isLikelier(call, than) : call.questions < than.questions;
}

/** A question that cannot be put is answered, so that the server does not wait for it for ever. */
function refusal(): RpcError {
	const { row, code } = new SlipwayError('SLIPWAY_CLIENT_GONE');
	return { code: row.rpcCode, message: row.sentence, data: { code } };
}

function withIdAndProgressToken(text: string, wireId: number): string {
	const number = String(wireId);
	return editMembers(text, {
		id: number,
		params: (params = '{}') =>
			editMembers(params, { _meta: (meta = '{}') => editMembers(meta, { progressToken: number }) }),
	});
}

function withSubscriptionId(text: string, member: 'params' | 'result', id: RpcId): string {
	return editMembers(text, {
		[member]: (value = '{}') =>
			editMembers(value, { _meta: (meta = '{}') => editMembers(meta, { [SUBSCRIPTION_KEY]: JSON.stringify(id) }) }),
	});
}

function subscriptionIdOf(value: unknown): RpcId | undefined {
	const meta = isObject(value) ? metaOf(value) : undefined;
	return meta === undefined ? undefined : ownId(meta, SUBSCRIPTION_KEY);
}

function stringMember(value: object | undefined, name: string): string | undefined {
	const member: unknown = value === undefined ? undefined : Reflect.get(value, name);
	return typeof member === 'string' ? member : undefined;
}

function toolsOf(result: unknown): readonly unknown[] {
	const tools = isObject(result) ? own(result, 'tools') : undefined;
	return Array.isArray(tools) ? tools : [];
}
