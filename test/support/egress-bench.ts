/**
 * The proxy on real sockets, with names that lead where a test says and one host behind every address.
 *
 * Its servers are told apart as in production, by where connections come from: here by addresses of 127.0.0.0/8.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Resolve } from '../../src/egress/addresses.ts';
import { EgressProxy } from '../../src/egress/proxy.ts';
import type { ServerName } from '../../src/ids.ts';
import { type Log, SILENT_LOG } from '../../src/log.ts';

export const PUBLIC = '93.184.215.14';

/** A server's network: the proxy's address there, and an Instance's. */
export const PLACES = Object.freeze({
	one: { proxy: '127.0.1.2', instance: '127.0.1.9' },
	two: { proxy: '127.0.2.2', instance: '127.0.2.9' },
	stranger: { proxy: '127.0.3.2', instance: '127.0.3.9' },
});
type Place = keyof typeof PLACES;

export interface EgressBenchOptions {
	/** Addresses by name. */
	readonly names?: Readonly<Record<string, readonly string[]>>;
	readonly resolve?: Resolve;
	/** Lines of the servers `one` and `two`. */
	readonly one?: readonly string[];
	readonly two?: readonly string[];
	/** The host behind every address. */
	readonly answer?: RequestListener;
	/** In place of a connection to that host. */
	readonly connect?: (address: string, port: number) => Socket;
	readonly log?: Log;
}

export interface EgressBench extends AsyncDisposable {
	readonly proxy: EgressProxy;
	readonly port: number;
	/** The addresses that were connected to, with their ports. */
	readonly connected: string[];
	/** The names that were asked for. */
	readonly resolved: string[];
	/** What reached the host. */
	readonly requests: IncomingMessage[];
	/** A connection of a server's Instance. */
	open(place?: Place, to?: string): Promise<Socket>;
	/** Sends bytes as they are, and reads until the proxy hangs up. */
	say(bytes: string, place?: Place): Promise<string>;
	allow(lines: { readonly one?: readonly string[]; readonly two?: readonly string[] }): void;
}

export async function openEgressBench(options: EgressBenchOptions = {}): Promise<EgressBench> {
	const connected: string[] = [];
	const resolved: string[] = [];
	const requests: IncomingMessage[] = [];
	const host = createServer((request, response) => {
		requests.push(request);
		if (options.answer !== undefined) return options.answer(request, response);
		text(request).then(
			(body) => response.end(`${request.method} ${request.url} ${body}`),
			() => undefined,
		);
	});
	host.listen(0, '127.0.0.1');
	await once(host, 'listening');
	const { port: hostPort } = host.address() as AddressInfo;
	const byName: Resolve = async (name) => options.names?.[name] ?? [];
	const proxy = new EgressProxy({
		log: options.log ?? SILENT_LOG,
		resolve: (name, signal) => {
			resolved.push(name);
			return (options.resolve ?? byName)(name, signal);
		},
		connect: (address, port) => {
			connected.push(`${address} ${port}`);
			return options.connect?.(address, port) ?? connect({ host: '127.0.0.1', port: hostPort, allowHalfOpen: true });
		},
	});
	const port = await proxy.listen(0);
	let revision = 0;
	const allow: EgressBench['allow'] = ({ one = [], two = [] }) =>
		proxy.apply({
			revision: ++revision,
			networks: [
				{ server: 'one' as ServerName, subnet: '127.0.1.0/24', address: PLACES.one.proxy, allowed: one },
				{ server: 'two' as ServerName, subnet: '127.0.2.0/24', address: PLACES.two.proxy, allowed: two },
			],
		});
	allow(options);
	const open: EgressBench['open'] = async (place = 'one', to = PLACES[place].proxy) => {
		const socket = connect({ host: to, port, localAddress: PLACES[place].instance });
		socket.on('error', () => undefined);
		await once(socket, 'connect');
		return socket;
	};
	return {
		proxy,
		port,
		connected,
		resolved,
		requests,
		allow,
		open,
		say: async (bytes, place) => {
			const socket = await open(place);
			socket.write(bytes, 'latin1');
			// A connection that is cut has said what it has said.
			const chunks: Buffer[] = [];
			socket.on('data', (chunk: Buffer) => chunks.push(chunk));
			const { promise, resolve } = Promise.withResolvers<void>();
			socket.once('close', () => resolve());
			await promise;
			return Buffer.concat(chunks).toString('latin1');
		},
		[Symbol.asyncDispose]: async () => {
			await proxy.stop();
			host.closeAllConnections();
			host.close();
			await once(host, 'close');
		},
	};
}
