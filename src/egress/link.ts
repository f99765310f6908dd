/**
 * The wire between launcher and egress role: JSON, one message a line, policies one way and reports the other, each whole.
 *
 * Any stream does. In compose it is a unix socket in a folder that only the role can enter; when it closes, the other side
 * is gone, and the role forgets every rule.
 */
import { chmod, unlink } from 'node:fs/promises';
import { createServer, type Server as NetServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { SERVER_NAME_PATTERN } from '../ids.ts';
import { CATALOG_LIMITS, EGRESS_LIMITS } from '../limits.ts';
import { type EgressGate, type EgressPolicy, type EgressReport, NO_REPORT } from './contract.ts';
import type { EgressProxy } from './proxy.ts';

const count = z.int().min(0);
const target = z
	.string()
	.max(CATALOG_LIMITS.egressCharsMax)
	.regex(/^[a-z0-9.:[\]-]*$/);

/** The role faces strangers, and may have been taken over by one: what it says is held against this. */
const reportSchema = z.strictObject({
	revision: count,
	tallies: z
		.array(
			z.tuple([
				z.string().regex(SERVER_NAME_PATTERN),
				z.strictObject({
					allowed: count,
					denied: count,
					latest: z
						.array(
							z.strictObject({
								target,
								reason: z.enum(['rule', 'address', 'request', 'connections']),
								count,
								at: z.iso.datetime(),
								allow: target.exactOptional(),
							}),
						)
						.max(EGRESS_LIMITS.denialsKeptMax),
				}),
			]),
		)
		.max(EGRESS_LIMITS.serversKeptMax),
});

/**
 * The launcher's end. The role that came last is the one that counts.
 *
 * INVARIANT: whoever comes is told the latest policy, and of several that it was too slow for the latest alone.
 */
export class LinkedGate implements EgressGate {
	readonly #listeners = new Set<() => void>();
	#policy: EgressPolicy = { revision: 0, networks: [] };
	#stream: Duplex | undefined;
	#send: ((message: unknown) => void) | undefined;
	#report = NO_REPORT;

	get open(): boolean {
		return this.#stream !== undefined;
	}

	get report(): EgressReport {
		return this.#report;
	}

	/** A role is at the other end of this stream. */
	attach(stream: Duplex): void {
		this.#stream?.destroy();
		this.#stream = stream;
		this.#report = NO_REPORT;
		this.#send = sender(stream);
		onMessages(stream, (message) => {
			const parsed = reportSchema.safeParse(message);
			if (!parsed.success) return void stream.destroy();
			if (this.#stream !== stream) return;
			this.#report = parsed.data;
			this.#changed();
		});
		stream.once('close', () => {
			if (this.#stream !== stream) return;
			this.#stream = undefined;
			this.#send = undefined;
			this.#report = NO_REPORT;
			this.#changed();
		});
		this.#send(this.#policy);
		this.#changed();
	}

	apply(policy: EgressPolicy): void {
		this.#policy = policy;
		this.#send?.(policy);
	}

	subscribe(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	async stop(): Promise<void> {
		this.#listeners.clear();
		this.#stream?.destroy();
	}

	#changed(): void {
		for (const listener of this.#listeners) listener();
	}
}

/** The role's end: the policy is what the stream says, until it closes; then it is none. Resolves when it has closed. */
export async function followPolicy(stream: Duplex, proxy: EgressProxy): Promise<void> {
	const closed = Promise.withResolvers<void>();
	const send = sender(stream);
	let timer: NodeJS.Timeout | undefined;
	const report = (): void => {
		clearTimeout(timer);
		timer = undefined;
		send(proxy.report);
	};
	const unsubscribe = proxy.subscribe(() => {
		timer ??= setTimeout(report, EGRESS_LIMITS.reportIntervalMs);
	});
	stream.once('close', closed.resolve);
	onMessages(stream, (message) => {
		proxy.apply(message as EgressPolicy);
		// At once: the launcher waits for it with a start.
		report();
	});
	await closed.promise;
	clearTimeout(timer);
	unsubscribe();
	proxy.apply({ revision: 0, networks: [] });
}

/** Where roles come to a launcher. */
export class EgressDoor {
	readonly #gate: LinkedGate;
	readonly #socketPath: string;
	readonly #net: NetServer;

	constructor(gate: LinkedGate, socketPath: string) {
		this.#gate = gate;
		this.#socketPath = socketPath;
		this.#net = createServer((socket) => gate.attach(socket));
	}

	/** Listens. A socket file that an earlier run left behind is replaced. */
	async start(): Promise<void> {
		await unlink(this.#socketPath).catch((error: NodeJS.ErrnoException) => {
			if (error.code !== 'ENOENT') throw error;
		});
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		this.#net.once('error', reject);
		this.#net.listen(this.#socketPath, resolve);
		await promise;
		// Connecting needs the right to write. The folder decides who gets as far as this file.
		await chmod(this.#socketPath, 0o666);
	}

	async stop(): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#net.close(() => resolve());
		await this.#gate.stop();
		await promise;
	}
}

/** Sends the message, or, while the other side does not read, remembers the latest one. */
function sender(stream: Duplex): (message: unknown) => void {
	let latest: unknown;
	const send = (message: unknown): void => {
		if (stream.destroyed) return;
		if (stream.writableNeedDrain) latest = message;
		else stream.write(`${JSON.stringify(message)}\n`);
	};
	stream.on('drain', () => {
		const message = latest;
		latest = undefined;
		if (message !== undefined) send(message);
	});
	return send;
}

/** Calls back with each line's JSON. A stream with a line that is none, or too long, is destroyed. */
function onMessages(stream: Duplex, onMessage: (message: unknown) => void): void {
	let held: Buffer[] = [];
	let heldBytes = 0;
	stream.on('error', () => undefined);
	stream.once('end', () => stream.destroy());
	stream.on('data', (chunk: Buffer) => {
		let rest = chunk;
		for (let end = rest.indexOf(0x0a); end !== -1 && !stream.destroyed; end = rest.indexOf(0x0a)) {
			const line = Buffer.concat([...held, rest.subarray(0, end)]);
			held = [];
			heldBytes = 0;
			rest = rest.subarray(end + 1);
			const message = parse(line);
			if (message === undefined) return void stream.destroy();
			onMessage(message);
		}
		held.push(rest);
		heldBytes += rest.length;
		if (heldBytes > EGRESS_LIMITS.messageBytesMax) stream.destroy();
	});
}

function parse(line: Buffer): unknown {
	try {
		return JSON.parse(line.toString('utf8'));
	} catch {
		return undefined;
	}
}
