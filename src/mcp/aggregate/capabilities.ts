/** What an aggregated endpoint says by itself, in the place of the servers behind it. */
import { RPC_CODES } from '../../errors.ts';
import { isObject, own, type RequestMessage, type RpcError } from '../jsonrpc.ts';

/** Whatever a server may have; one that has less has shorter lists. */
export const AGGREGATE_CAPABILITIES = Object.freeze({
	completions: {},
	logging: {},
	prompts: { listChanged: true },
	resources: { listChanged: true, subscribe: true },
	tools: { listChanged: true },
});

/** Told when a server comes, or goes. */
export const LIST_CHANGES = Object.freeze([
	'notifications/tools/list_changed',
	'notifications/prompts/list_changed',
	'notifications/resources/list_changed',
]);

/**
 * The error for what no server behind the endpoint has.
 *
 * @param resourceCode what a resource that there is not is answered with: -32002, and -32602 since 2026-07-28
 */
export function notFound({ method, params = {} }: RequestMessage, resourceCode: number): RpcError {
	const uri = own(params, 'uri');
	if (uri !== undefined) return { code: resourceCode, message: 'Resource not found', data: { uri } };
	if (['name', 'taskId', 'ref'].every((key) => own(params, key) === undefined))
		return { code: RPC_CODES.methodNotFound, message: 'Method not found' };
	return { code: RPC_CODES.invalidParams, message: `No server here has what ${method} names.` };
}

/** Whether an error says no more than that its server has no such thing. */
export function saysNotFound({ code }: RpcError): boolean {
	return code === RPC_CODES.methodNotFound || code === RPC_CODES.invalidParams || code === RPC_CODES.resourceNotFound;
}

/** The id of a task that a result speaks of: as the first era writes it, or as the second's extension does. */
export function taskIdIn(result: object): string | undefined {
	const task = own(result, 'task');
	const id = isObject(task) ? own(task, 'taskId') : own(result, 'taskId');
	return typeof id === 'string' ? id : undefined;
}
