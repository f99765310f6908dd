/**
 * The Upstream: the JSON-RPC conversation over one Channel.
 *
 * Ids are rewritten in both directions, so that two clients, or one client twice, may use the same id, and an answer
 * that comes too late finds nobody. Texts pass as they are but for that id (text.ts).
 *
 * Where a server's message belongs (the protocol says it for progress only; for the rest the wire gives no relation):
 *   response             → the exchange of its request
 *   progress             → the exchange whose request carried the token
 *   question, log line   → the newest tools/call in flight whose client listens, else the newest such request
 *   anything else        → the standing stream of the session
 */
import { isUtf8 } from 'node:buffer';
import type { Channel, InstanceEnd } from '../channel.ts';
import { SlipwayError } from '../errors.ts';
import { INSTANCE_LIMITS, SESSION_LIMITS, STDIO_LIMITS } from '../limits.ts';
import {
	classify,
	errorText,
	type Message,
	type NotificationMessage,
	notificationText,
	progressTokenOf,
	progressTokenOfNotification,
	type RequestMessage,
	type ResponseMessage,
	type RpcId,
	requestIdOfCancel,
} from './jsonrpc.ts';
import { LineSplitter } from './lines.ts';
import { replaceId } from './text.ts';

/** Where everything that belongs to one request of a client goes. Exactly one of answer, fail, drop ends it. */
export interface Exchange {
	/** Whether somebody still listens. */
	readonly attached: boolean;
	/** A message that comes before the answer: progress, a log line, a question. */
	related(text: string): void;
	/** The server's answer, with the client's id. */
	answer(text: string): void;
	/** There is no answer, and this is why. */
	fail(id: RpcId, error: SlipwayError): void;
	/** The client withdrew the request: it wants no answer. */
	drop(): void;
}

/** Where a server's messages go that belong to no request. */
export interface Standing {
	/** Returns false when it was not taken: nobody listens and there is no room to keep it. */
	send(text: string): boolean;
}

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
	/** The tools that the server listed. */
	onTools(names: readonly string[]): void;
}

interface Call {
	/** The client's id. */
	readonly id: RpcId;
	readonly wireId: number;
	readonly method: string;
	readonly tool: string | undefined;
	readonly exchange: Exchange;
	readonly progressToken: RpcId | undefined;
	readonly startedAtMs: number;
	readonly timeoutMs: number;
	readonly onAnswer: ((answer: ResponseMessage) => void) | undefined;
	deadlineMs: number;
	/** Questions of the server that belong to this call and are not answered. */
	questions: number;
}

interface Question {
	/** The server's id. */
	readonly id: RpcId;
	readonly call: Call | undefined;
}

export interface CallOptions {
	readonly exchange: Exchange;
	readonly timeoutMs: number;
	/** Called with the answer before the exchange gets it. */
	readonly onAnswer?: (answer: ResponseMessage) => void;
}

/**
 * INVARIANTS:
 * - Every call that `request` took ends exactly once: answer, fail or drop of its exchange.
 * - After the Channel ended there is no call in flight, and `request` throws.
 * - No timer of its own: the owner calls `tick`.
 */
export class Upstream {
	readonly channel: Channel;
	/** Resolves with the reason when the conversation is over. */
	readonly ended: Promise<SlipwayError>;
	readonly #standing: Standing;
	readonly #observer: UpstreamObserver;
	readonly #lines: LineSplitter;
	readonly #calls = new Map<number, Call>();
	readonly #wireIds = new Map<RpcId, number>();
	readonly #tokens = new Map<RpcId, Call>();
	readonly #questions = new Map<number, Question>();
	#lastId = 0;
	#outgoing = '';
	#flushing = false;
	#holds = 0;
	#initialized = false;
	#over: SlipwayError | undefined;
	/** Why we ended the Instance, where it was not its own doing. */
	#fault: SlipwayError | undefined;
	#stdinStuckSinceMs: number | undefined;
	#noise = { windowStartMs: 0, lines: 0, told: 0 };

	constructor(channel: Channel, { standing, observer }: { standing: Standing; observer: UpstreamObserver }) {
		this.channel = channel;
		this.#standing = standing;
		this.#observer = observer;
		this.#lines = new LineSplitter(
			{ line: (line) => this.#take(line), tooLong: () => this.#abandon(new SlipwayError('SLIPWAY_LINE_TOO_LONG')) },
			STDIO_LIMITS.lineBytesMax,
		);
		channel.stream.on('data', (chunk: Buffer) => this.#lines.push(chunk));
		channel.stream.on('error', () => undefined);
		this.ended = channel.ended.then((end) => this.#close(this.#explain(end)));
	}

	/** Calls in flight. */
	get inFlight(): number {
		return this.#calls.size;
	}

	/** Whether a request with this id is in flight. */
	has(id: RpcId): boolean {
		return this.#wireIds.has(id);
	}

	/**
	 * Sends a client's request to the server.
	 *
	 * @throws SlipwayError SLIPWAY_CALLS_FULL, SLIPWAY_DUPLICATE_ID, SLIPWAY_STDIN_STALL, or why the conversation is over
	 */
	request(text: string, message: RequestMessage, options: CallOptions): void {
		this.#assertOpen();
		if (this.#calls.size >= SESSION_LIMITS.inFlightMax)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
		if (this.#wireIds.has(message.id)) throw new SlipwayError('SLIPWAY_DUPLICATE_ID');
		const wireId = ++this.#lastId;
		this.#write(replaceId(text, message.id, wireId));
		const startedAtMs = performance.now();
		const call: Call = {
			id: message.id,
			wireId,
			method: message.method,
			tool: message.method === 'tools/call' ? stringMember(message.params, 'name') : undefined,
			exchange: options.exchange,
			progressToken: progressTokenOf(message.params),
			startedAtMs,
			timeoutMs: options.timeoutMs,
			onAnswer: options.onAnswer,
			deadlineMs: startedAtMs + options.timeoutMs,
			questions: 0,
		};
		this.#calls.set(wireId, call);
		this.#wireIds.set(call.id, wireId);
		if (call.progressToken !== undefined) this.#tokens.set(call.progressToken, call);
	}

	/** Sends a client's notification. A cancellation is told in the server's ids, and ends the call here. */
	notify(text: string, message: NotificationMessage): void {
		this.#assertOpen();
		if (message.method === 'notifications/cancelled') this.#cancel(message);
		else this.#write(text);
	}

	/** Sends a client's answer to a question of the server. One that nobody asked is dropped. */
	respond(text: string, message: ResponseMessage): void {
		this.#assertOpen();
		const question = typeof message.id === 'number' ? this.#questions.get(message.id) : undefined;
		if (question === undefined) return;
		this.#forget(message.id, question);
		this.#write(replaceId(text, message.id, question.id));
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
		for (const call of this.#calls.values()) if (isOverdue(call, nowMs)) this.#timeOut(call);
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
		const call = typeof message.id === 'number' ? this.#calls.get(message.id) : undefined;
		// Too late, doubled, or never asked for: nobody waits for it.
		if (call === undefined) return;
		this.#finish(call, message.ok ? 'ok' : 'error');
		if (call.method === 'initialize' && message.ok) this.#initialized = true;
		if (call.method === 'tools/list' && message.ok) this.#observer.onTools(toolNames(message.result));
		call.onAnswer?.(message);
		call.exchange.answer(replaceId(text, message.id, call.id));
	}

	#ask(message: RequestMessage, text: string): void {
		if (this.#questions.size >= SESSION_LIMITS.questionsMax) return this.#refuseQuestion(message.id);
		const id = ++this.#lastId;
		const call = this.#newestListened();
		const question: Question = { id: message.id, call };
		this.#questions.set(id, question);
		const rewritten = replaceId(text, message.id, id);
		if (call !== undefined) {
			call.questions += 1;
			call.exchange.related(rewritten);
		} else if (!this.#standing.send(rewritten)) {
			this.#forget(id, question);
			this.#refuseQuestion(message.id);
		}
	}

	/** A question that cannot be put is answered, so that the server does not wait for it for ever. */
	#refuseQuestion(id: RpcId): void {
		const { row, code } = new SlipwayError('SLIPWAY_CLIENT_GONE');
		this.#tryWrite(errorText(id, { code: row.rpcCode, message: row.sentence, data: { code } }));
	}

	#tell(message: NotificationMessage, text: string): void {
		switch (message.method) {
			case 'notifications/progress':
				return this.#progress(message, text);
			case 'notifications/message': {
				const call = this.#newestListened();
				if (call === undefined) this.#standing.send(text);
				else call.exchange.related(text);
				return;
			}
			case 'notifications/cancelled':
				return this.#withdraw(message);
			default:
				this.#standing.send(text);
		}
	}

	#progress(message: NotificationMessage, text: string): void {
		const token = progressTokenOfNotification(message.params);
		const call = token === undefined ? undefined : this.#tokens.get(token);
		// Late progress belongs to nobody.
		if (call === undefined) return;
		call.deadlineMs = performance.now() + call.timeoutMs;
		call.exchange.related(text);
	}

	/** The server withdraws a question. The client is told where it was asked. */
	#withdraw(message: NotificationMessage): void {
		const serverId = requestIdOfCancel(message.params);
		for (const [id, question] of this.#questions) {
			if (question.id !== serverId) continue;
			this.#forget(id, question);
			const text = notificationText('notifications/cancelled', { ...message.params, requestId: id });
			if (question.call?.exchange.attached) question.call.exchange.related(text);
			else this.#standing.send(text);
			return;
		}
	}

	#cancel(message: NotificationMessage): void {
		const id = requestIdOfCancel(message.params);
		const wireId = id === undefined ? undefined : this.#wireIds.get(id);
		const call = wireId === undefined ? undefined : this.#calls.get(wireId);
		// A cancellation may cross the answer; and initialize must not be cancelled.
		if (call === undefined || call.method === 'initialize') return;
		this.#write(notificationText('notifications/cancelled', { ...message.params, requestId: call.wireId }));
		this.#finish(call, 'cancelled');
		call.exchange.drop();
	}

	#timeOut(call: Call): void {
		if (!this.#initialized) return this.#abandon(new SlipwayError('SLIPWAY_START_TIMEOUT'));
		const error = new SlipwayError('SLIPWAY_CALL_TIMEOUT', {
			reason: `It had ${Math.round((performance.now() - call.startedAtMs) / 1000)} s.`,
		});
		this.#finish(call, error.code);
		this.#tryWrite(notificationText('notifications/cancelled', { requestId: call.wireId, reason: 'timeout' }));
		call.exchange.fail(call.id, error);
	}

	#finish(call: Call, outcome: string): void {
		this.#calls.delete(call.wireId);
		this.#wireIds.delete(call.id);
		if (call.progressToken !== undefined && this.#tokens.get(call.progressToken) === call)
			this.#tokens.delete(call.progressToken);
		this.#observer.onCall({
			method: call.method,
			tool: call.tool,
			durationMs: performance.now() - call.startedAtMs,
			outcome,
		});
	}

	#forget(id: RpcId, question: Question): void {
		if (typeof id === 'number') this.#questions.delete(id);
		if (question.call === undefined) return;
		question.call.questions -= 1;
		// The time in which the client thought does not count against the server.
		question.call.deadlineMs = performance.now() + question.call.timeoutMs;
	}

	#newestListened(): Call | undefined {
		let newest: Call | undefined;
		for (const call of this.#calls.values()) {
			if (!call.exchange.attached) continue;
			if (call.method === 'tools/call' || newest?.method !== 'tools/call') newest = call;
		}
		return newest;
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
				if (this.#initialized) return new SlipwayError('SLIPWAY_INSTANCE_EXITED', details);
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
		this.#questions.clear();
		return reason;
	}
}

/** A call that waits for its client to answer a question has until the ceiling; any other until its deadline. */
function isOverdue(call: Call, nowMs: number): boolean {
	if (nowMs - call.startedAtMs >= SESSION_LIMITS.callTimeoutMsMax) return true;
	return call.questions === 0 && nowMs >= call.deadlineMs;
}

function stringMember(value: object | undefined, name: string): string | undefined {
	const member: unknown = value === undefined ? undefined : Reflect.get(value, name);
	return typeof member === 'string' ? member : undefined;
}

function toolNames(result: unknown): string[] {
	const tools: unknown = typeof result === 'object' && result !== null ? Reflect.get(result, 'tools') : undefined;
	if (!Array.isArray(tools)) return [];
	return tools.flatMap((tool: unknown) =>
		typeof tool === 'object' && tool !== null ? (stringMember(tool, 'name') ?? []) : [],
	);
}

/** The time that `initialize` has. */
export const INITIALIZE_TIMEOUT_MS: number = INSTANCE_LIMITS.startTimeoutMs;
