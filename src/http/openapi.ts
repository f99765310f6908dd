/**
 * /openapi.json: the routes of the admin API as OpenAPI 3.1, made of the table that express serves and of the schemas that
 * its answers have, and beside them the endpoints for MCP clients.
 */
import { z } from 'zod';
import { ERRORS, type ErrorCode } from '../errors.ts';
import { type Answer, type ApiRoute, jsonRoute } from './api-route.ts';
import { refusalTold } from './told.ts';

type Json = Readonly<Record<string, unknown>>;

/** What every route but the open ones may refuse a request with. */
const DOOR: readonly ErrorCode[] = [
	'SLIPWAY_UNAUTHENTICATED',
	'SLIPWAY_FORBIDDEN',
	'SLIPWAY_HOST_REFUSED',
	'SLIPWAY_RATE_LIMITED',
];
const DOOR_OF_ALL: readonly ErrorCode[] = ['SLIPWAY_HOST_REFUSED'];
const OF_BODIES: readonly ErrorCode[] = ['SLIPWAY_BAD_JSON', 'SLIPWAY_MEDIA_TYPE', 'SLIPWAY_BODY_TOO_LARGE'];

const rpcMessage = z
	.looseObject({ jsonrpc: z.literal('2.0'), method: z.string().optional() })
	.meta({ id: 'Message', description: 'A JSON-RPC message of the Model Context Protocol.' });

const EVENTS = { type: 'text/event-stream', schema: z.string() };
const MESSAGE = { type: 'application/json', schema: rpcMessage };

/** What MCP clients are served, which is not Express's: the protocol says the rest. */
function endpoint(path: string, method: ApiRoute['method'], summary: string, answers: ApiRoute['answers']): ApiRoute {
	const errors: readonly ErrorCode[] = ['SLIPWAY_SESSION_UNKNOWN', 'SLIPWAY_SERVER_DISABLED', 'SLIPWAY_DRAINING'];
	return {
		path,
		method,
		summary,
		...(method === 'post' ? { body: rpcMessage } : {}),
		answers,
		errors,
		handle: () => undefined,
	};
}

function streamable(path: string, what: string): ApiRoute[] {
	const accepted: Answer = { status: 202, says: 'Taken: there is no answer to it.' };
	return [
		endpoint(path, 'post', `Streamable HTTP: a message to ${what}.`, [
			{ status: 200, says: 'The answer.', body: MESSAGE },
			{ status: 200, says: 'The answer, and what comes before it.', body: EVENTS },
			accepted,
		]),
		endpoint(path, 'get', `Streamable HTTP: what ${what} says by itself.`, [
			{ status: 200, says: 'Events, until the client goes away.', body: EVENTS },
		]),
		endpoint(path, 'delete', 'Ends a session.', [{ status: 204, says: 'It has ended.' }]),
	];
}

const ENDPOINTS: readonly ApiRoute[] = [
	...streamable('/mcp', 'all servers that the caller may use, as one'),
	...streamable('/groups/{name}/mcp', 'the servers of a group, as one'),
	...streamable('/servers/{name}/mcp', 'a server'),
	endpoint('/servers/{name}/sse', 'get', 'HTTP+SSE of revision 2024-11-05: the stream of a session.', [
		{ status: 200, says: 'Events, until the client goes away.', body: EVENTS },
	]),
	endpoint('/servers/{name}/messages', 'post', 'HTTP+SSE: a message in a session.', [
		{ status: 202, says: 'Taken: the answer comes on the stream.' },
	]),
];

/** The route of the document, which is in it too. */
export function openApiRoute(
	routes: readonly ApiRoute[],
	about: { readonly version: string; readonly publicUrl: string },
): ApiRoute {
	const itself: ApiRoute = jsonRoute({
		method: 'get',
		path: '/openapi.json',
		summary: 'This document.',
		says: 'OpenAPI 3.1.',
		told: z.looseObject({ openapi: z.string() }),
		handle: () => document,
	});
	const document = describe([...routes, itself, ...ENDPOINTS], about);
	return itself;
}

function describe(
	routes: readonly ApiRoute[],
	{ version, publicUrl }: { readonly version: string; readonly publicUrl: string },
) {
	const schemas: Record<string, unknown> = {};
	const paths: Record<string, Record<string, unknown>> = {};
	for (const route of routes) {
		const { method, path } = route;
		paths[path] = { ...paths[path], [method]: describeRoute(route, schemas) };
	}
	return {
		openapi: '3.1.0',
		info: {
			title: 'Slipway',
			version,
			description: 'The admin API, for keys with the scope `admin`, and the endpoints for clients of MCP.',
			license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
		},
		servers: [{ url: publicUrl }],
		security: [{ key: [] }],
		paths,
		components: {
			schemas,
			securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'A key of `slipway keys`, or a token.' } },
		},
	};
}

function describeRoute(route: ApiRoute, schemas: Record<string, unknown>): Json {
	const { method, path, summary, open, query, body, answers, errors } = route;
	const told = [...(open ? DOOR_OF_ALL : DOOR), ...(body === undefined ? [] : OF_BODIES), ...errors];
	if (query !== undefined && !told.includes('SLIPWAY_PARAMS_INVALID')) told.push('SLIPWAY_PARAMS_INVALID');
	const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
		name,
		in: 'path',
		required: true,
		schema: { type: 'string' },
	}));
	const inQuery = Object.entries(query?.shape ?? {}).map(([name, schema]) =>
		ofQuery(name, toSchema(schema, schemas, 'input')),
	);
	const parameters = [...inPath, ...inQuery];
	return {
		operationId: `${method}${path.replace(/[^a-z]+(\w?)/g, (_, letter: string) => letter.toUpperCase())}`,
		summary,
		...(open ? { security: [] } : {}),
		...(parameters.length === 0 ? {} : { parameters }),
		...(body === undefined
			? {}
			: {
					requestBody: {
						required: true,
						content: { 'application/json': { schema: toSchema(body, schemas, 'input') } },
					},
				}),
		responses: { ...describeAnswers(answers, schemas), ...describeErrors(told, schemas) },
	};
}

function ofQuery(name: string, { description, ...schema }: Json): Json {
	return { name, in: 'query', ...(description === undefined ? {} : { description }), schema };
}

function describeAnswers(answers: readonly Answer[], schemas: Record<string, unknown>): Json {
	const told: Record<string, { description: string; content?: Record<string, Json> }> = {};
	for (const { status, says, body } of answers) {
		const before = told[status];
		const content =
			body === undefined
				? before?.content
				: { ...before?.content, [body.type]: { schema: toSchema(body.schema, schemas, 'output') } };
		told[status] = {
			description: before === undefined ? says : `${before.description} ${says}`,
			...(content === undefined ? {} : { content }),
		};
	}
	return told;
}

function describeErrors(codes: readonly ErrorCode[], schemas: Record<string, unknown>): Json {
	const schema = toSchema(refusalTold, schemas, 'output');
	const content = { 'application/json': { schema } };
	const byStatus = Map.groupBy(codes, (code) => ERRORS[code].httpStatus);
	const told = [...byStatus].map(([status, same]) => [
		status,
		{ description: same.map((code) => `\`${code}\`: ${ERRORS[code].sentence}`).join(' '), content },
	]);
	return { ...Object.fromEntries(told), default: { description: 'Another error of docs/errors.md.', content } };
}

/** What has a name is told once, in `components`. */
function toSchema(schema: z.ZodType, schemas: Record<string, unknown>, io: 'input' | 'output'): Json {
	const {
		$schema: _,
		$defs = {},
		...rest
	} = z.toJSONSchema(z.object({ it: schema }), {
		io,
		// It would say of an answer that a client may not send it.
		override: ({ jsonSchema }) => {
			delete jsonSchema.readOnly;
		},
	});
	for (const [name, definition] of Object.entries($defs)) schemas[name] = hoist(definition);
	return hoist(rest.properties?.['it'] ?? {}) as Json;
}

/** References to what toJSONSchema has beside a schema, as references into the document. */
function hoist(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(hoist);
	if (typeof value !== 'object' || value === null) return value;
	return Object.fromEntries(
		Object.entries(value).map(([name, member]) =>
			name === '$ref' && typeof member === 'string'
				? [name, member.replace('#/$defs/', '#/components/schemas/')]
				: [name, hoist(member)],
		),
	);
}
