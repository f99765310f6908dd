/** Reading a request's body: bounded before it is read, and read once. */
import type { IncomingMessage } from 'node:http';
import { SlipwayError } from '../errors.ts';
import { HTTP_LIMITS } from '../limits.ts';
import { textDepthExceeds } from '../mcp/jsonrpc.ts';

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The body as text and as JSON.
 *
 * @param onBytes told of what is read, also where nothing comes of it
 * @throws SlipwayError SLIPWAY_MEDIA_TYPE, SLIPWAY_BODY_TOO_LARGE (nothing is read when the length says so),
 *   SLIPWAY_BAD_JSON, SLIPWAY_BAD_REQUEST (nested too deep), SLIPWAY_CLIENT_GONE
 */
export async function readJsonBody(
	request: IncomingMessage,
	onBytes: (bytes: number) => void = () => undefined,
): Promise<{ text: string; value: unknown }> {
	const { headers } = request;
	if (!/^application\/json(?:\s*;\s*charset="?utf-8"?)?\s*$/i.test(headers['content-type'] ?? ''))
		throw new SlipwayError('SLIPWAY_MEDIA_TYPE');
	// We decompress nothing: a few bytes must not become many.
	if ((headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity')
		throw new SlipwayError('SLIPWAY_MEDIA_TYPE');
	if (Number(headers['content-length'] ?? 0) > HTTP_LIMITS.bodyBytesMax)
		throw new SlipwayError('SLIPWAY_BODY_TOO_LARGE');
	const text = decode(await readBytes(request, onBytes));
	if (textDepthExceeds(text, HTTP_LIMITS.jsonDepthMax))
		throw new SlipwayError('SLIPWAY_BAD_REQUEST', { reason: `It is nested deeper than ${HTTP_LIMITS.jsonDepthMax}.` });
	try {
		return { text, value: JSON.parse(text) };
	} catch (cause) {
		throw new SlipwayError('SLIPWAY_BAD_JSON', {}, { cause });
	}
}

function readBytes(request: IncomingMessage, onBytes: (bytes: number) => void): Promise<Buffer> {
	const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
	const chunks: Buffer[] = [];
	let bytes = 0;
	request.on('data', (chunk: Buffer) => {
		bytes += chunk.length;
		onBytes(chunk.length);
		if (bytes > HTTP_LIMITS.bodyBytesMax) {
			request.removeAllListeners('data');
			request.pause();
			reject(new SlipwayError('SLIPWAY_BODY_TOO_LARGE'));
		} else chunks.push(chunk);
	});
	request.once('end', () =>
		resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)),
	);
	request.once('error', (cause) => reject(new SlipwayError('SLIPWAY_CLIENT_GONE', {}, { cause })));
	request.once('close', () => {
		// Every request closes; an error costs more than most of them.
		if (!request.readableEnded) reject(new SlipwayError('SLIPWAY_CLIENT_GONE'));
	});
	return promise;
}

function decode(bytes: Buffer): string {
	try {
		return UTF8.decode(bytes);
	} catch (cause) {
		throw new SlipwayError('SLIPWAY_BAD_JSON', {}, { cause });
	}
}
