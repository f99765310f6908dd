/** Streams of what servers write on stderr, for administrators who follow it. */
import type { Request, Response } from 'express';
import { SlipwayError } from '../errors.ts';
import type { PrincipalId } from '../ids.ts';
import type { Launcher, StderrWish } from '../launcher/contract.ts';
import { HTTP_LIMITS, SSE_LIMITS } from '../limits.ts';
import type { Authenticator, Principal } from './principal.ts';

/** One JSON object a line; an empty line says that the stream lives. */
export const LINES_TYPE = 'application/x-ndjson';

interface Open {
	readonly principal: PrincipalId;
	readonly request: Request;
	readonly response: Response;
	/** When something was written last. */
	wroteAtMs: number;
	/** When everything that was written had been taken last. */
	tookAtMs: number;
}

/**
 * INVARIANT: of what is open nothing outlives its client, its client's key, or the gateway, and nothing is kept of it but
 * what its client has not taken yet, at most SSE_LIMITS.bufferedBytesMax.
 */
export class LogStreams {
	readonly #launcher: Launcher;
	readonly #authenticator: Authenticator;
	readonly #open = new Set<Open>();

	constructor(launcher: Launcher, authenticator: Authenticator) {
		this.#launcher = launcher;
		this.#authenticator = authenticator;
	}

	/** Streams that are open. */
	get size(): number {
		return this.#open.size;
	}

	/**
	 * Answers with the lines as they come, and resolves when the stream is over.
	 *
	 * @throws SlipwayError SLIPWAY_CALLS_FULL, SLIPWAY_LAUNCHER_UNREACHABLE
	 */
	async follow(
		wish: Pick<StderrWish, 'server' | 'tail'>,
		{ request, response, principal }: { request: Request; response: Response; principal: Principal },
	): Promise<void> {
		if (!this.#launcher.state.launcher.reachable) throw new SlipwayError('SLIPWAY_LAUNCHER_UNREACHABLE');
		const own = [...this.#open].filter((one) => one.principal === principal.id).length;
		if (own >= HTTP_LIMITS.logStreamsPerCallerMax || this.#open.size >= HTTP_LIMITS.logStreamsMax)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 60 });
		const nowMs = performance.now();
		const stream: Open = { principal: principal.id, request, response, wroteAtMs: nowMs, tookAtMs: nowMs };
		const gone = new AbortController();
		this.#open.add(stream);
		response.once('close', () => {
			this.#open.delete(stream);
			gone.abort();
		});
		response.on('drain', () => {
			stream.tookAtMs = performance.now();
		});
		response.type(LINES_TYPE).flushHeaders();
		try {
			await this.#launcher.stderr({ ...wish, follow: true, signal: gone.signal }, (lines) =>
				write(stream, lines.map((line) => `${JSON.stringify(line)}\n`).join('')),
			);
			response.end();
		} catch {
			// What is broken off has no end, so that nobody takes it for all that there was.
			response.destroy();
		}
	}

	/** A caller has another key, or none: whoever may not follow any more does not. */
	dismiss(principal: PrincipalId): void {
		for (const stream of this.#open)
			if (stream.principal === principal && !this.#mayFollow(stream)) stream.response.end();
	}

	/** Keeps streams alive, and cuts those that nobody reads. To be called every second or so. */
	tick(nowMs: number): void {
		for (const stream of this.#open) {
			if (stream.response.writableLength === 0) stream.tookAtMs = nowMs;
			if (nowMs - stream.tookAtMs > SSE_LIMITS.stallMs) stream.response.destroy();
			else if (nowMs - stream.wroteAtMs > SSE_LIMITS.keepAliveMs) write(stream, '\n');
		}
	}

	/** Ends them all. */
	stop(): void {
		for (const { response } of this.#open) response.end();
	}

	/** Asked of the key that the stream was opened with. */
	#mayFollow({ request }: Open): boolean {
		try {
			const found = this.#authenticator.authenticate(request);
			return found instanceof Promise || found.access.admin;
		} catch {
			return false;
		}
	}
}

function write(stream: Open, text: string): void {
	const { response } = stream;
	stream.wroteAtMs = performance.now();
	response.write(text);
	// A slow reader is cut and not waited for: who writes the lines does not wait either.
	if (response.writableLength > SSE_LIMITS.bufferedBytesMax) response.destroy();
}
