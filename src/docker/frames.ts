/**
 * The Engine's attach stream of a container without a TTY: frames of an 8-byte header (type, three zero bytes,
 * length as u32be) and a payload.
 *
 * docker-modem's own demultiplexer recurses once a frame and takes what it cannot read for stdout, hence this one.
 */

const HEADER_BYTES = 8;

const TYPE_STDOUT = 1;
const TYPE_STDERR = 2;
const TYPE_ENGINE_ERROR = 3;

/** What receives the payloads. A chunk is part of what was pushed, not a copy; it is valid to keep. */
export interface FrameSinks {
	stdout(chunk: Buffer): void;
	stderr(chunk: Buffer): void;
	/** The stream is not what it should be and must be closed. Told once; nothing follows it. */
	invalid(reason: string): void;
}

/**
 * Separates stdout from stderr.
 *
 * INVARIANTS:
 * - Payload bytes are passed on as they arrive and in their order; a chunk is never empty.
 * - Held bytes never exceed a header.
 * - It fails closed: of a frame with an invalid header, and of all that follows it, nothing reaches a sink.
 */
export class FrameDemultiplexer {
	readonly #sinks: FrameSinks;
	readonly #frameBytesMax: number;
	/** The beginning of a header whose end has not arrived. */
	readonly #header = Buffer.alloc(HEADER_BYTES);
	#headerBytes = 0;
	#payloadBytesLeft = 0;
	#payloadType = TYPE_STDOUT;
	#invalid = false;

	constructor(sinks: FrameSinks, frameBytesMax: number) {
		this.#sinks = sinks;
		this.#frameBytesMax = frameBytesMax;
	}

	push(chunk: Buffer): void {
		let at = 0;
		while (at < chunk.length && !this.#invalid) {
			at = this.#payloadBytesLeft > 0 ? this.#passPayload(chunk, at) : this.#readHeader(chunk, at);
		}
	}

	#passPayload(chunk: Buffer, at: number): number {
		const end = Math.min(at + this.#payloadBytesLeft, chunk.length);
		const payload = chunk.subarray(at, end);
		// The books are in order before the sink is called, so that a sink that throws cannot shift the stream.
		this.#payloadBytesLeft -= end - at;
		if (this.#payloadType === TYPE_STDOUT) this.#sinks.stdout(payload);
		else this.#sinks.stderr(payload);
		return end;
	}

	#readHeader(chunk: Buffer, at: number): number {
		if (this.#headerBytes === 0 && chunk.length - at >= HEADER_BYTES) {
			this.#openFrame(chunk, at);
			return at + HEADER_BYTES;
		}
		const copiedBytes = chunk.copy(this.#header, this.#headerBytes, at);
		this.#headerBytes += copiedBytes;
		if (this.#headerBytes === HEADER_BYTES) {
			this.#headerBytes = 0;
			this.#openFrame(this.#header, 0);
		}
		return at + copiedBytes;
	}

	#openFrame(header: Buffer, at: number): void {
		const word = header.readUInt32BE(at);
		const type = word >>> 24;
		const lengthBytes = header.readUInt32BE(at + 4);
		if (type === TYPE_ENGINE_ERROR) {
			this.#fail('the engine reported an error in the stream');
		} else if (type !== TYPE_STDOUT && type !== TYPE_STDERR) {
			// Type 0 is an echo of stdin, which we never ask for.
			this.#fail(`a frame has the unknown type ${type}`);
		} else if ((word & 0xffffff) !== 0) {
			this.#fail('the padding of a frame is not zero');
		} else if (lengthBytes > this.#frameBytesMax) {
			this.#fail(`a frame of ${lengthBytes} bytes is longer than ${this.#frameBytesMax}`);
		} else {
			this.#payloadType = type;
			this.#payloadBytesLeft = lengthBytes;
		}
	}

	#fail(reason: string): void {
		this.#invalid = true;
		this.#sinks.invalid(reason);
	}
}
