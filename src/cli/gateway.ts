/**
 * The gateway, as verbs ask it: over HTTP, with a key. Where none is given, the verb makes one of its own beside the data of
 * the gateway, which is good for minutes and is revoked when the verb ends.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { getCACertificates } from 'node:tls';
import type { z } from 'zod';
import { type Config, readConfig } from '../config.ts';
import { ERRORS, type ErrorCode, fromErrorRecord, SlipwayError } from '../errors.ts';
import { createKey, describeKey, type MadeKey, revokeKey } from '../http/key-admin.ts';
import { hashKey } from '../http/keys.ts';
import { catalogTold } from '../http/told.ts';
import { GATEWAY_CLIENT_LIMITS, POLICY_LIMITS } from '../limits.ts';
import type { Store } from '../store/contract.ts';
import { DATABASE_FILE, openSqliteStore } from '../store/sqlite.ts';
import { audited, UNRECORDED } from './audited.ts';
import type { Invocation } from './invocation.ts';

/** The options of every verb that asks the gateway. */
export const GATEWAY_OPTIONS = {
	url: { type: 'string' },
	'key-file': { type: 'string' },
	'ca-file': { type: 'string' },
} as const;

/** The end of the help of each of them. */
export const GATEWAY_HELP = `  --url <url>          where the gateway is; otherwise SLIPWAY_URL
  --key-file <file>    a file with a key; otherwise SLIPWAY_API_KEY_FILE or SLIPWAY_API_KEY. With none, and beside the data
                       of the gateway, it makes a key of its own and revokes it at the end
  --ca-file <file>     certificates that the gateway is known by, in PEM; otherwise SLIPWAY_CA_FILE`;

export interface GatewayValues {
	readonly url?: string | undefined;
	readonly 'key-file'?: string | undefined;
	readonly 'ca-file'?: string | undefined;
}

interface Sent {
	readonly method?: string;
	readonly headers?: Readonly<Record<string, string>>;
	readonly body?: string;
	readonly signal?: AbortSignal | undefined;
}

interface Way {
	readonly url: string;
	/** What is asked for there, which may have another name than the way to it. */
	readonly host: string;
	readonly ca: string | undefined;
}

/** Every answer that is no success is a SlipwayError: that of the gateway's own words, or SLIPWAY_GATEWAY_UNREACHABLE. */
export class GatewayClient {
	readonly url: string;
	readonly #way: Way;
	readonly #key: string;
	readonly #signal: AbortSignal;

	/** @param signal ends what is under way */
	constructor(way: Way, key: string, signal: AbortSignal) {
		this.url = way.url;
		this.#way = way;
		this.#key = key;
		this.#signal = signal;
	}

	/** What it answers, as the schema has it. */
	async ask<Told>(path: string, told: z.ZodType<Told>, method = 'GET'): Promise<Told> {
		const response = await this.#send(path, { method });
		return known(parseJson(await readText(response)), told);
	}

	/** Hands over the lines of an answer, JSON each, as they come. Resolves when it ends. */
	async follow<Told>(path: string, told: z.ZodType<Told>, onLine: (line: Told) => void): Promise<void> {
		const response = await this.#send(path, {});
		response.setTimeout(GATEWAY_CLIENT_LIMITS.silenceMsMax, () => response.destroy());
		let partial = '';
		try {
			for await (const chunk of response.setEncoding('utf8')) {
				const lines = `${partial}${chunk}`.split('\n');
				partial = lines.pop() ?? '';
				if (partial.length > GATEWAY_CLIENT_LIMITS.answerBytesMax) throw unreachable('It sent a line without an end.');
				// An empty one says that it lives.
				for (const line of lines) if (line !== '') onLine(known(parseJson(line), told));
			}
		} catch (cause) {
			throw this.#explain(cause, 'The stream broke off.');
		}
	}

	/** For clients that want a `fetch`. It follows no redirect. */
	readonly fetch = async (input: string | URL, init: RequestInit = {}): Promise<Response> => {
		const { pathname, search } = new URL(input);
		const { method = 'GET', headers, body, signal } = init;
		if (body != null && typeof body !== 'string') throw new TypeError('only text is sent');
		const response = await this.#send(`${pathname}${search}`, {
			method,
			headers: Object.fromEntries(new Headers(headers)),
			signal: signal ?? undefined,
			...(body == null ? {} : { body }),
		});
		const { statusCode: status = 0 } = response;
		const isEmpty = status === 204 || status === 205 || status === 304;
		if (isEmpty) response.resume();
		const named = Object.entries(response.headers).map(([name, value]): [string, string] => [name, String(value)]);
		return new Response(isEmpty ? null : (Readable.toWeb(response) as ReadableStream), { status, headers: named });
	};

	/** Resolves with an answer that has begun, and is a success. */
	async #send(path: string, { method = 'GET', headers = {}, body = '', signal }: Sent): Promise<IncomingMessage> {
		const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
		const { url, host, ca } = this.#way;
		const send = url.startsWith('https:') ? httpsRequest : httpRequest;
		const either = signal === undefined ? this.#signal : AbortSignal.any([signal, this.#signal]);
		const outgoing = send(`${url}${path}`, {
			method,
			headers: { ...headers, host, authorization: `Bearer ${this.#key}` },
			agent: false,
			signal: either,
			servername: new URL(`https://${host}`).hostname,
			// What is named may be the gateway's own certificate, whoever signed it.
			...(ca === undefined ? {} : { ca: [...getCACertificates(), ca], allowPartialTrustChain: true }),
		});
		outgoing.setTimeout(GATEWAY_CLIENT_LIMITS.requestTimeoutMs, () => outgoing.destroy(new Error('it is silent')));
		outgoing.once('response', (response) => {
			outgoing.setTimeout(0);
			resolve(response);
		});
		outgoing.once('error', (cause: NodeJS.ErrnoException) => reject(this.#explain(cause, explainWay(url, cause))));
		outgoing.end(body);
		const response = await promise;
		const { statusCode = 0 } = response;
		if (statusCode >= 200 && statusCode < 300) return response;
		throw refusalOf(statusCode, await readText(response));
	}

	#explain(cause: unknown, reason: string): unknown {
		return this.#signal.aborted || cause instanceof SlipwayError ? cause : unreachable(reason, cause);
	}
}

/**
 * Does something with the gateway.
 *
 * @param scopes what a key of its own may do
 * @throws SlipwayError SLIPWAY_KEY_REQUIRED, SLIPWAY_CONFIG_INVALID, SLIPWAY_GATEWAY_UNREACHABLE, what the gateway refuses
 *   with, and what `use` throws
 */
export async function withGateway(
	{ environment, stopping, err }: Pick<Invocation, 'environment' | 'stopping' | 'err'>,
	values: GatewayValues,
	{ scopes, use }: { readonly scopes: readonly string[]; readonly use: (gateway: GatewayClient) => Promise<0 | 1> },
): Promise<0 | 1> {
	const config = readConfig(environment);
	const way = wayOf(config, values);
	const given = keyOf(config, values);
	if (given !== undefined) return use(new GatewayClient(way, given, stopping));
	if (!existsSync(join(config.dataDir, DATABASE_FILE))) throw new SlipwayError('SLIPWAY_KEY_REQUIRED');
	const store = openSqliteStore(config.dataDir);
	try {
		const own = await makeOwnKey(config, store, scopes, (text) => err.write(text));
		try {
			const client = new GatewayClient(way, own.key, stopping);
			await seen(client, stopping);
			return await use(client);
		} finally {
			await own.revoke();
		}
	} finally {
		store.close();
	}
}

async function makeOwnKey(
	config: Config,
	store: Store,
	scopes: readonly string[],
	tell: (text: string) => void,
): Promise<{ readonly key: string; revoke(): Promise<void> }> {
	const name = `cli-${randomBytes(4).toString('hex')}`;
	const end = (): number => Date.now() + GATEWAY_CLIENT_LIMITS.keyMs;
	const { result, recorded } = await audited(config, {
		event: 'key',
		describe: (made?: MadeKey) => ({ act: 'create', ...describeKey(name, made) }),
		run: () => createKey(store, { name, scopes, expiresAt: new Date(end()).toISOString() }),
	});
	if (!recorded) tell(UNRECORDED);
	const renewing = setInterval(() => {
		const known = store.listKeys().find((key) => key.name === name && key.hash === hashKey(result.key));
		// Somebody may have revoked it: then it stays so.
		if (known !== undefined) store.saveKey({ ...known, expiresAtMs: end() });
	}, GATEWAY_CLIENT_LIMITS.keyRenewMs);
	return {
		key: result.key,
		revoke: async () => {
			clearInterval(renewing);
			if (!store.listKeys().some((key) => key.name === name)) return;
			await audited(config, {
				event: 'key',
				describe: () => ({ act: 'revoke', ...describeKey(name, undefined) }),
				run: () => revokeKey(store, name),
			});
		},
	};
}

/** Waits until the gateway, which looks at the store now and then, takes a key that was made just now. */
async function seen(client: GatewayClient, signal: AbortSignal): Promise<void> {
	const untilMs = performance.now() + GATEWAY_CLIENT_LIMITS.keySeenMs;
	for (;;) {
		await sleep(POLICY_LIMITS.keysPollMs, undefined, { signal });
		try {
			return void (await client.ask('/api/catalog', catalogTold));
		} catch (error) {
			const isUnknown = error instanceof SlipwayError && error.code === 'SLIPWAY_UNAUTHENTICATED';
			if (!isUnknown || performance.now() > untilMs) throw error;
		}
	}
}

function wayOf({ gateway }: Config, { url, 'ca-file': caFile = gateway.caFile }: GatewayValues): Way {
	const ca = caFile === undefined ? undefined : readGiven(caFile, 'the certificates');
	const common = { ca: ca === '' ? undefined : ca };
	if (url === undefined) return { url: gateway.url, host: gateway.host, ...common };
	if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', { reason: '`--url` must be an http or https URL.' });
	return { url: url.replace(/\/+$/, ''), host: new URL(url).host, ...common };
}

/** The key that was given, if one was; an empty file counts as none. */
function keyOf(
	{ apiKey, apiKeyFile }: Config,
	{ 'key-file': keyFile = apiKeyFile }: GatewayValues,
): string | undefined {
	const key = keyFile === undefined ? apiKey : readGiven(keyFile, 'the key');
	if (key === undefined || key === '') return undefined;
	if (!/^[\x21-\x7e]+$/.test(key))
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', {
			reason: 'The file of the key must hold one key and nothing else.',
		});
	return key;
}

function readGiven(path: string, what: string): string {
	try {
		return readFileSync(path, 'utf8').trim();
	} catch (cause) {
		const reason = `The file of ${what} cannot be read: ${path}.`;
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', { reason }, { cause });
	}
}

function explainWay(url: string, { code = '', message }: NodeJS.ErrnoException): string {
	const isCertificate = /CERT|ALTNAME|ISSUER|SIGNATURE/.test(code);
	if (isCertificate) return `Its certificate at ${url} is not trusted (${code}): name what signed it with --ca-file.`;
	return `Nothing at ${url} says anything (${code === '' ? message : code}).`;
}

/** An error in the gateway's words, or what else answers there. */
function refusalOf(status: number, text: string): SlipwayError {
	const { error } = (parseJson(text) ?? {}) as { error?: { data?: Readonly<Record<string, unknown>> } };
	const { code, reason, server, scopes, stderr, log, exitCode } = error?.data ?? {};
	if (typeof code !== 'string' || !Object.hasOwn(ERRORS, code))
		return unreachable(`Something else answers: ${status}.`);
	return fromErrorRecord({
		code: code as ErrorCode,
		details: {
			...(typeof reason === 'string' ? { reason } : {}),
			...(typeof server === 'string' ? { server } : {}),
			...(typeof stderr === 'string' ? { stderr } : {}),
			...(typeof log === 'string' ? { log } : {}),
			...(typeof exitCode === 'number' ? { exitCode } : {}),
			...(Array.isArray(scopes) ? { scopes: scopes.map(String) } : {}),
		},
	});
}

async function readText(response: IncomingMessage): Promise<string> {
	let text = '';
	try {
		for await (const chunk of response.setEncoding('utf8')) {
			text += chunk;
			if (text.length > GATEWAY_CLIENT_LIMITS.answerBytesMax) throw unreachable('Its answer has no end.');
		}
	} catch (cause) {
		throw cause instanceof SlipwayError ? cause : unreachable('Its answer broke off.', cause);
	}
	return text;
}

function parseJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

function known<Told>(value: unknown, told: z.ZodType<Told>): Told {
	const parsed = told.safeParse(value);
	if (!parsed.success) throw unreachable('What it answers is not what this version of Slipway knows.');
	return parsed.data;
}

function unreachable(reason: string, cause?: unknown): SlipwayError {
	return new SlipwayError('SLIPWAY_GATEWAY_UNREACHABLE', { reason }, { cause });
}
