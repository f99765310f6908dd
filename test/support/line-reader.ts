/** A stream of lines, each to be taken once as it comes. */
import type { Readable } from 'node:stream';
import { Inbox } from './inbox.ts';

export class LineReader {
	/** Resolves with whether it ended as it should: false where it broke off. */
	readonly ended: Promise<boolean>;
	readonly #lines = new Inbox<string>('a line');
	#partial = '';

	constructor(stream: Readable) {
		const { promise, resolve } = Promise.withResolvers<boolean>();
		this.ended = promise;
		stream.setEncoding('utf8');
		stream.on('error', () => undefined);
		stream.on('data', (chunk: string) => {
			const lines = (this.#partial + chunk).split('\n');
			this.#partial = lines.pop() ?? '';
			for (const line of lines) this.#lines.push(line);
		});
		stream.once('close', () => resolve(stream.readableEnded));
	}

	next(): Promise<string> {
		return this.#lines.next();
	}
}
