/** A Launcher without an engine: its Instances are pairs of streams in memory, and the test is the server. */
import { randomUUID } from 'node:crypto';
import { type Duplex, duplexPair } from 'node:stream';
import type { Channel, InstanceEnd, Patience } from '../../src/channel.ts';
import type { InstanceId, ServerName } from '../../src/ids.ts';
import type {
	InstanceReport,
	Launcher,
	LauncherState,
	ServerView,
	StderrLine,
	StderrListener,
	StderrWish,
} from '../../src/launcher/contract.ts';
import { INSTANCE_LIMITS } from '../../src/limits.ts';
import { Inbox } from './inbox.ts';

/** A JSON-RPC message as tests look at it. */
export interface Rpc {
	readonly jsonrpc?: string;
	readonly id?: string | number | null;
	readonly method?: string;
	readonly params?: Record<string, unknown>;
	readonly result?: Record<string, unknown>;
	readonly error?: { readonly code: number; readonly message: string; readonly data?: Record<string, unknown> };
}

const STOPPED: InstanceEnd = { cause: 'stopped', stderr: '' };

/** One Instance, from both sides: the gateway has it as a Channel, the test plays the server on it. */
export class FakeInstance implements Channel {
	readonly server: ServerName;
	readonly instance = randomUUID() as InstanceId;
	readonly spec: string;
	readonly stream: Duplex;
	readonly ended: Promise<InstanceEnd>;
	/** The lines on stdin, in order, each to be taken once. */
	readonly lines = new Inbox<string>('a line on stdin');
	/** Every line that came on stdin. */
	readonly received: string[] = [];
	/** The bytes on stdout that the other side took, or has room for. */
	acceptedBytes = 0;
	/** How the Instance was told to stop, if it was. */
	stopped: Patience | undefined;
	/** Called instead of ending at once when it is told to stop. */
	onStop: (() => void) | undefined;
	readonly #far: Duplex;
	readonly #end = Promise.withResolvers<InstanceEnd>();
	#reading = true;
	#partial = '';

	constructor(server: ServerName, spec = '') {
		this.server = server;
		this.spec = spec;
		const [near, far] = duplexPair({ highWaterMark: 16 * 1024 });
		this.stream = near;
		this.#far = far;
		near.on('error', () => undefined);
		far.on('error', () => undefined);
		far.setEncoding('utf8');
		far.on('data', (chunk: string) => this.#take(chunk));
		this.ended = this.#end.promise;
	}

	/** Stops reading stdin, as a server that is stuck does. */
	stopReading(): void {
		this.#reading = false;
		this.#far.pause();
	}

	resumeReading(): void {
		this.#reading = true;
		this.#far.resume();
	}

	/** Writes one message to stdout. */
	say(message: Rpc | readonly Rpc[] | string): void {
		this.raw(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`);
	}

	/** Writes bytes to stdout as they are. Returns whether there is room for more. */
	raw(bytes: string | Buffer): boolean {
		const length = Buffer.byteLength(bytes);
		return this.#far.write(bytes, (error) => {
			if (error == null) this.acceptedBytes += length;
		});
	}

	/** The next message on stdin. */
	async hear(): Promise<Rpc> {
		return JSON.parse(await this.lines.next());
	}

	/** The next message on stdin, which must be a request of that method. Its id is the server's. */
	async hearRequest(method: string): Promise<{ id: number; params: Record<string, unknown> | undefined }> {
		const message = await this.hear();
		if (message.method !== method || typeof message.id !== 'number')
			throw new Error(`expected ${method}, heard ${JSON.stringify(message)}`);
		return { id: message.id, params: message.params };
	}

	/** Ends by itself, after the gateway has read what was written. */
	end(end: InstanceEnd): void {
		this.stream.once('end', () => this.#end.resolve(end));
		this.stream.once('close', () => this.#end.resolve(end));
		this.#far.end();
	}

	stop(patience: Patience): Promise<void> {
		this.stopped ??= patience;
		this.stream.resume();
		if (this.onStop === undefined) this.finishStop();
		else this.onStop();
		return this.ended.then(() => undefined);
	}

	/** Ends because it was told to. */
	finishStop(end: InstanceEnd = STOPPED): void {
		this.end(end);
		// What the other side does not read must not keep it from ending.
		setImmediate(() => this.stream.destroy());
	}

	#take(chunk: string): void {
		const lines = (this.#partial + chunk).split('\n');
		this.#partial = lines.pop() ?? '';
		for (const line of lines) {
			this.received.push(line);
			this.lines.push(line);
		}
		if (!this.#reading) this.#far.pause();
	}
}

export function serverView(name: string, overrides: Partial<ServerView> = {}): ServerView {
	return {
		name: name as ServerName,
		enabled: true,
		source: 'image test',
		callTimeoutMs: 60_000,
		idleStopMs: INSTANCE_LIMITS.idleStopMs,
		snapshot: false,
		pin: 'first-use',
		keeps: false,
		memoryBytes: 256 * 1024 ** 2,
		isolation: 'session',
		preparation: { kind: 'ready', image: 'test', imageId: 'sha256:test' },
		spec: `spec-${name}`,
		instances: 0,
		...overrides,
	};
}

export class FakeLauncher implements Launcher {
	#state: LauncherState = {
		launcher: { reachable: true, version: 'test' },
		engine: { reachable: true, version: '29', apiVersion: '1.51' },
		catalog: { revision: 1 },
		servers: [
			serverView('alpha'),
			serverView('beta'),
			serverView('off', { enabled: false }),
			serverView('quick', { callTimeoutMs: 5_000 }),
		],
		startsQueued: 0,
		orphansSwept: 0,
		groups: { pair: ['alpha' as ServerName, 'beta' as ServerName] },
	};
	/** Instances that were launched, each to be taken once. */
	readonly launched = new Inbox<FakeInstance>('an Instance');
	/** Instances that are not over. */
	readonly live = new Set<FakeInstance>();
	/** The reasons of launches that were given up. */
	readonly aborted = new Inbox<unknown>('a launch that is given up');
	/** Launches that began. */
	launches = 0;
	/** For whom, in order. */
	readonly callers: string[] = [];
	/** An Instance that was on its way comes all the same when its launch is aborted. */
	abortComesTooLate = false;
	reports: InstanceReport[] = [];
	/** Awaited before an Instance is there: a test delays or refuses a launch with it. */
	beforeLaunch: (server: ServerName) => Promise<void> | void = () => undefined;

	readonly #listeners = new Set<(state: LauncherState) => void>();

	get state(): LauncherState {
		return this.#state;
	}

	/** Tells whoever has subscribed. */
	set state(state: LauncherState) {
		this.#state = state;
		for (const listener of this.#listeners) listener(state);
	}

	subscribe(listener: (state: LauncherState) => void): () => void {
		this.#listeners.add(listener);
		return () => void this.#listeners.delete(listener);
	}

	async launch(server: ServerName, signal: AbortSignal, caller: string): Promise<Channel> {
		this.launches += 1;
		const asked = this.#find(server);
		this.callers.push(caller);
		signal.throwIfAborted();
		const abort = Promise.withResolvers<never>();
		abort.promise.catch(() => undefined);
		const onAbort = (): void => {
			this.aborted.push(signal.reason);
			abort.reject(signal.reason);
		};
		signal.addEventListener('abort', onAbort);
		try {
			const before = this.beforeLaunch(server);
			await (this.abortComesTooLate ? before : Promise.race([before, abort.promise]));
		} finally {
			signal.removeEventListener('abort', onAbort);
		}
		// The entry is the one of the moment when it was asked for; its image may have been made since.
		const made = asked?.preparation.kind === 'ready' ? asked : this.#find(server);
		const instance = new FakeInstance(server, made?.spec);
		this.live.add(instance);
		void instance.ended.then(() => this.live.delete(instance));
		this.launched.push(instance);
		return instance;
	}

	#find(server: ServerName): ServerView | undefined {
		return this.state.servers.find(({ name }) => name === server);
	}

	async report(): Promise<readonly InstanceReport[]> {
		return this.reports;
	}

	/** Those who follow stderr. */
	readonly followers = new Set<{ readonly wish: StderrWish; readonly onLines: StderrListener }>();
	/** What is told of it first. */
	stderrLines: StderrLine[] = [];

	async stderr(wish: StderrWish, onLines: StderrListener): Promise<void> {
		const known = this.stderrLines.filter(({ server }) => wish.server === undefined || server === wish.server);
		if (wish.tail > 0 && known.length > 0) onLines(known.slice(-wish.tail));
		if (!wish.follow) return;
		const follower = { wish, onLines };
		this.followers.add(follower);
		await new Promise<void>((resolve) => wish.signal.addEventListener('abort', () => resolve()));
		this.followers.delete(follower);
	}

	/** A server writes a line on stderr. */
	writeStderr(line: StderrLine): void {
		this.stderrLines.push(line);
		for (const { wish, onLines } of this.followers)
			if (wish.server === undefined || wish.server === line.server) onLines([line]);
	}

	async stop(): Promise<void> {
		await Promise.all([...this.live].map((instance) => instance.stop('prompt')));
	}
}
