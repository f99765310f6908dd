/**
 * Runs in a container beside an engine whose socket only containers can reach: every stream that comes in over stdin
 * and stdout, which are one connection of HTTP/2, becomes a connection to that socket. relayed-socket.ts has the other end.
 */
import { constants, performServerHandshake } from 'node:http2';
import { createConnection } from 'node:net';
import { Duplex, Readable, Writable } from 'node:stream';

const [socketPath = ''] = process.argv.slice(2);

const stdio = Duplex.from({ readable: Readable.toWeb(process.stdin), writable: Writable.toWeb(process.stdout) });
const session = performServerHandshake(stdio, { settings: { maxConcurrentStreams: 10_000 } });
session.on('stream', (stream) => {
	stream.respond();
	const engine = createConnection({ path: socketPath, allowHalfOpen: true });
	stream.pipe(engine);
	engine.pipe(stream);
	engine.on('error', () => undefined);
	stream.on('error', () => undefined);
	// A connection that went, however it went, takes its other half with it.
	engine.once('close', (hadError) => {
		if (hadError) stream.close(constants.NGHTTP2_CONNECT_ERROR);
		else stream.end();
	});
	stream.once('close', () => engine.destroy());
});
// Who has gone needs no relay any more.
session.once('close', () => process.exit(0));
