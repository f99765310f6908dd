/**
 * JSON-RPC 2.0 as MCP uses it: which kind of message a value is, and the texts of messages that we write ourselves.
 *
 * What is inside `params` and `result` is the business of the two ends and is not looked at. Only own properties
 * count, so that neither a `__proto__` key nor a polluted prototype can add to a message.
 */

import { stringEnd } from './text.ts';

/** Floats and null are no ids, as in the SDK; nor are numbers that JSON.parse rounds, which would not be unique. */
export type RpcId = string | number;

export interface RpcError {
	readonly code: number;
	readonly message: string;
	readonly data?: unknown;
}

export interface RequestMessage {
	readonly kind: 'request';
	readonly id: RpcId;
	readonly method: string;
	readonly params: object | undefined;
}

export interface NotificationMessage {
	readonly kind: 'notification';
	readonly method: string;
	readonly params: object | undefined;
}

export type ResponseMessage =
	| { readonly kind: 'response'; readonly id: RpcId; readonly ok: true; readonly result: unknown }
	| { readonly kind: 'response'; readonly id: RpcId; readonly ok: false; readonly error: RpcError };

export type Message = RequestMessage | NotificationMessage | ResponseMessage;

/**
 * What a parsed value is, or undefined when it is no JSON-RPC 2.0 message of MCP. That is so for a batch too, for an
 * error with the id null (it answers a message that its writer could not read, so nobody can be told), and for a
 * message that JSON.parse may have misread (mayBeMisread).
 */
export function classify(value: unknown): Message | undefined {
	if (!isObject(value) || own(value, 'jsonrpc') !== '2.0' || mayBeMisread(value)) return undefined;
	const id = own(value, 'id');
	const method = own(value, 'method');
	const result = own(value, 'result');
	const error = own(value, 'error');
	if (method !== undefined) {
		if (typeof method !== 'string' || result !== undefined || error !== undefined) return undefined;
		const params = own(value, 'params');
		if (params !== undefined && (!isObject(params) || mayBeMisread(params))) return undefined;
		if (id === undefined) return { kind: 'notification', method, params };
		return isRpcId(id) ? { kind: 'request', id, method, params } : undefined;
	}
	if (!isRpcId(id)) return undefined;
	if (error === undefined) return result === undefined ? undefined : { kind: 'response', id, ok: true, result };
	return result === undefined && isRpcError(error) ? { kind: 'response', id, ok: false, error } : undefined;
}

/**
 * Whether objects and arrays are nested deeper than depthMax in a JSON text; a scalar has depth 0.
 *
 * To be asked before JSON.parse. V8 parses and serialises without recursion and took a depth of 5,000,000, but what
 * works on the value afterwards may recurse. Of a text that is not JSON the answer means nothing, and costs no more.
 */
export function textDepthExceeds(text: string, depthMax: number): boolean {
	let depth = 0;
	let at = 0;
	while (at < text.length) {
		switch (text.charCodeAt(at)) {
			case 0x22: // "
				at = stringEnd(text, at);
				continue;
			case 0x5b: // [
			case 0x7b: // {
				depth++;
				if (depth > depthMax) return true;
				break;
			case 0x5d: // ]
			case 0x7d: // }
				depth--;
				break;
		}
		at++;
	}
	return false;
}

/** A request as one line, without the newline. */
export function requestText(id: RpcId, method: string, params?: object): string {
	return JSON.stringify({ jsonrpc: '2.0', id, method, params });
}

/** A notification as one line, without the newline. */
export function notificationText(method: string, params?: object): string {
	return JSON.stringify({ jsonrpc: '2.0', method, params });
}

/** A successful response as one line, without the newline. */
export function resultText(id: RpcId, result: object): string {
	return JSON.stringify({ jsonrpc: '2.0', id, result });
}

/** An error response as one line, without the newline. The id is null where that of the request could not be read. */
export function errorText(id: RpcId | null, error: RpcError): string {
	const { code, message, data } = error;
	return JSON.stringify({ jsonrpc: '2.0', id, error: { code, message, data } });
}

/** The token under which the sender of a request wants progress: `params._meta.progressToken`. */
export function progressTokenOf(params: object | undefined): RpcId | undefined {
	const meta = params === undefined ? undefined : metaOf(params);
	return meta === undefined ? undefined : ownId(meta, 'progressToken');
}

/** The `_meta` of params or of a result, if it has one that is an object. */
export function metaOf(value: object): object | undefined {
	const meta = own(value, '_meta');
	return isObject(meta) ? meta : undefined;
}

/** The token that a `notifications/progress` is about. */
export function progressTokenOfNotification(params: object | undefined): RpcId | undefined {
	return params === undefined ? undefined : ownId(params, 'progressToken');
}

/** The request that a `notifications/cancelled` is about. */
export function requestIdOfCancel(params: object | undefined): RpcId | undefined {
	return params === undefined ? undefined : ownId(params, 'requestId');
}

/**
 * Whether JSON.parse may have taken a key of this object, or of its `_meta`, for another one.
 *
 * V8 misreads a key that is spelled with an escape when an object of the same shape had a key that is the beginning
 * of that spelling: after {"a":1,"i\\":1} it reads {"a":1,"i\u0064":1} as having a key i\ and no id
 * (nodejs/node#63785, seen in Node 26.10). So one client could have us see a message other than the server does: a
 * request without an id, a call of another tool. A misread key always holds a backslash, and no key of MCP does.
 */
function mayBeMisread(value: object): boolean {
	const meta = own(value, '_meta');
	return holdsBackslashKey(value) || (isObject(meta) && holdsBackslashKey(meta));
}

function holdsBackslashKey(value: object): boolean {
	for (const key in value) if (key.includes('\\')) return true;
	return false;
}

/** An own property. JSON has no undefined, so undefined is "absent". */
export function own(value: object, key: string): unknown {
	return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}

/** An own property that is an id. */
export function ownId(value: object, key: string): RpcId | undefined {
	const id = own(value, key);
	return isRpcId(id) ? id : undefined;
}

export function isObject(value: unknown): value is object {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isRpcId(value: unknown): value is RpcId {
	return typeof value === 'string' || Number.isSafeInteger(value);
}

function isRpcError(value: unknown): value is RpcError {
	return isObject(value) && Number.isSafeInteger(own(value, 'code')) && typeof own(value, 'message') === 'string';
}
