/** Model clients right at a server as the gateway has it, without HTTP between them. */
import assert from 'node:assert/strict';
import { SlipwayError } from '../../src/errors.ts';
import type { Call, LegacyServer, Reply, Standing } from '../../src/mcp/exchange.ts';
import { classify, isObject, type RequestMessage, type RpcId } from '../../src/mcp/jsonrpc.ts';
import type { ModernServer } from '../../src/mcp/modern-server.ts';
import { LegacyExchange, Questions } from '../../src/mcp/questions.ts';
import { ENVELOPE_KEYS } from '../../src/mcp/revisions.ts';
import type { Rpc } from './fake-launcher.ts';
import type { LegacyPort, ModernPort, Ticket } from './model-client.ts';

/** What comes of a request, told to its ticket. */
export function replyTo(ticket: Ticket): Reply {
	return {
		get attached() {
			return ticket.attached;
		},
		related: (text) => void ticket.told.push(JSON.parse(text)),
		answer: (text) => void ticket.ends.push(JSON.parse(text)),
		fail: (id, error) => void ticket.ends.push({ id, error: { code: error.row.rpcCode, message: error.code } }),
		drop: () => void ticket.ends.push('dropped'),
	};
}

/** A request as the gateway reads it. */
export function read(message: Rpc): { text: string; message: RequestMessage } {
	const text = JSON.stringify(message);
	const parsed = classify(JSON.parse(text));
	assert.ok(parsed?.kind === 'request');
	return { text, message: parsed };
}

export function modernPortOf(server: () => ModernServer): ModernPort {
	return (request, ticket) => {
		const { text, message } = read(request);
		const meta: unknown = request.params?.['_meta'];
		const capabilities: unknown = Reflect.get(Object(meta), ENVELOPE_KEYS.capabilities);
		const logLevel: unknown = Reflect.get(Object(meta), ENVELOPE_KEYS.logLevel);
		const envelope = {
			capabilities: isObject(capabilities) ? capabilities : {},
			clientInfo: undefined,
			logLevel: typeof logLevel === 'string' ? logLevel : undefined,
		};
		return guarded(ticket, () => server().request({ text, message, envelope }, replyTo(ticket)));
	};
}

/** Where a server's messages go that belong to no request of a client of the first era, and the port of that client. */
export function legacyPortOf(server: () => LegacyServer): { port: LegacyPort; standing: Standing } {
	const questions = new Questions();
	const calls = new Map<RpcId, Call>();
	const standing: Rpc[] = [];
	const push = (text: string): boolean => standing.push(JSON.parse(text)) > 0;
	const port: LegacyPort = {
		standing,
		request: (request, ticket) => {
			const { text, message } = read(request);
			const { id } = message;
			guarded(ticket, () => {
				const call = server().request(text, message, {
					exchange: new LegacyExchange(replyTo(ticket), questions),
					timeoutMs: 60_000,
					onEnd: () => calls.delete(id),
				});
				calls.set(id, call);
				return call;
			});
		},
		notify: ({ params }) => calls.get(Object(params).requestId)?.cancel(params),
		respond: (answer) => {
			const message = classify(answer);
			assert.ok(message?.kind === 'response');
			questions.respond(JSON.stringify(answer), message);
		},
	};
	return { port, standing: { send: push, ask: (question) => questions.put(question, push) } };
}

/** A request that cannot be sent ends with the reason, as HTTP would have it. */
function guarded(ticket: Ticket, request: () => Call): () => void {
	try {
		const call = request();
		return () => call.cancel();
	} catch (error) {
		assert.ok(error instanceof SlipwayError, String(error));
		ticket.ends.push({ id: ticket.id, error: { code: error.row.rpcCode, message: error.code } });
		return () => undefined;
	}
}
