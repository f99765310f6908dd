/**
 * What the admin API tells, as schemas: its answers have these types, and /openapi.json is made of them.
 *
 * What somebody else defines (the launcher's contract, the pool) is written down again here, so that the compiler says where
 * an answer is not what the document promises.
 */
import { z } from 'zod';
import { ERRORS, type ErrorCode } from '../errors.ts';

const count = z.int().min(0);
const names = z.array(z.string()).readonly();
const codes = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]];
export const errorCode = z.enum(codes).meta({ id: 'ErrorCode', description: 'See docs/errors.md.' });

/** What a request is refused with, on every path. */
export const refusalTold = z
	.object({
		jsonrpc: z.literal('2.0'),
		id: z.union([z.string(), z.number()]).nullable(),
		error: z.object({
			code: z.int(),
			message: z.string(),
			data: z.looseObject({
				code: errorCode,
				nextStep: z.string().describe('What to do about it.'),
				retryable: z.boolean(),
				requestId: z.string().optional(),
				reason: z.string().optional(),
				server: z.string().optional(),
				scopes: names.optional(),
			}),
		}),
	})
	.meta({ id: 'Refusal', description: 'A JSON-RPC error, whatever was asked.' });

const check = z.string().describe('`ok`, or why not.');
export const healthTold = z.object({ status: z.literal('ok'), version: z.string() }).meta({ id: 'Health' });
export const readyTold = z
	.object({
		status: z.enum(['ok', 'unavailable']),
		version: z.string(),
		checks: z.object({ gateway: check, launcher: check, engine: check }),
	})
	.meta({ id: 'Ready' });

const errorRecordTold = z.object({
	code: errorCode,
	details: z.object({
		server: z.string().optional(),
		reason: z.string().optional(),
		exitCode: z.int().optional(),
		stderr: z.string().optional(),
		log: z.string().optional(),
		scopes: names.optional(),
		retryAfterSeconds: z.number().optional(),
	}),
});

const preparationTold = z
	.discriminatedUnion('kind', [
		z.object({ kind: z.literal('waiting') }),
		z.object({ kind: z.literal('preparing'), step: z.string(), startedAt: z.string() }),
		z.object({
			kind: z.literal('ready'),
			image: z.string(),
			imageId: z.string(),
			integrity: z.string().optional(),
		}),
		z.object({ kind: z.literal('failed'), error: errorRecordTold, failedAt: z.string() }),
	])
	.meta({ id: 'Preparation', description: 'How far the image of a server is.' });

const egressTold = z
	.object({
		allowed: names,
		denied: z
			.array(
				z.object({
					target: z.string(),
					reason: z.enum(['rule', 'address', 'request', 'connections']),
					count,
					at: z.string(),
					allow: z.string().optional().describe('The line of `egress` that would allow it.'),
				}),
			)
			.readonly(),
		allowedCount: count,
		deniedCount: count,
	})
	.meta({ id: 'Egress', description: 'What a server may reach, and what it was refused.' });

export const instanceTold = z
	.object({
		instance: z.string(),
		startedAt: z.string(),
		ended: z
			.object({
				at: z.string(),
				cause: z.enum(['stopped', 'exited', 'oom', 'lost', 'frame']),
				exitCode: z.int().optional(),
			})
			.optional(),
		stderr: z.string().describe('The last of it, without the values of secrets.'),
	})
	.meta({ id: 'Instance' });

export const serverTold = z
	.object({
		name: z.string(),
		title: z.string().optional(),
		description: z.string().optional(),
		enabled: z.boolean(),
		source: z.string().describe('What it runs: `npm name@version` or `image reference`.'),
		callTimeoutMs: count,
		idleStopMs: count,
		snapshot: z.boolean(),
		callsPerMinute: count.optional(),
		callsInFlight: count.optional(),
		containers: count.optional(),
		tools: z
			.object({
				allow: names.optional(),
				deny: names.optional(),
				callsPerMinute: z.record(z.string(), count).readonly().optional(),
				arguments: z.record(z.string(), z.string()).readonly().optional(),
				validate: z.boolean().optional(),
			})
			.optional(),
		audit: z.object({ values: names }).optional(),
		pin: z.enum(['first-use', 'approve', 'off']),
		warm: count.optional(),
		keeps: z.boolean().describe('Whether it is given something that outlives a container.'),
		memoryBytes: count,
		isolation: z.enum(['session', 'principal', 'shared']),
		replicas: z.object({ min: count, max: count }).optional(),
		preparation: preparationTold,
		spec: z.string().describe('What a container of it would be made of now.'),
		egress: egressTold.optional(),
		instances: count.describe('Containers that run.'),
		path: z.string().describe('Where clients find it.'),
		sessions: count,
		absent: z
			.object({ code: errorCode, sentence: z.string(), at: z.string() })
			.optional()
			.describe('Why endpoints of many servers are without it.'),
		crashes: z
			.object({
				state: z.enum(['closed', 'open', 'half-open']),
				lastFailure: z.object({ code: errorCode, sentence: z.string(), at: z.string() }),
			})
			.optional()
			.describe('Why it is started later, or not at all.'),
		warmStarts: z.object({ waiting: count, wanted: count }).optional(),
		pins: z
			.object({
				approved: count,
				waiting: names,
				refused: names,
				tooMany: z.boolean(),
				alike: z.array(z.object({ tool: z.string(), others: names })).readonly(),
			})
			.optional(),
		recent: z.array(instanceTold).readonly(),
	})
	.meta({ id: 'Server' });
export type ServerTold = z.output<typeof serverTold>;

export const serversTold = z.object({ servers: z.array(serverTold).readonly() });

const groupTold = z.object({ name: z.string(), servers: names, path: z.string() }).meta({ id: 'Group' });
export const groupsTold = z.object({ groups: z.array(groupTold).readonly() });

export const catalogTold = z
	.object({
		revision: count.describe('0: the launcher has not told yet.'),
		problem: z.string().optional().describe('What is wrong with the file; the last good one counts.'),
	})
	.meta({ id: 'Catalog' });

export const statusTold = z
	.object({
		version: z.string(),
		status: z.enum(['ok', 'unavailable']),
		launcher: z.object({ reachable: z.boolean(), version: z.string() }),
		engine: z.union([
			z.object({ reachable: z.literal(true), version: z.string(), apiVersion: z.string() }),
			z.object({ reachable: z.literal(false), reason: z.string() }),
		]),
		catalog: catalogTold,
		sessions: count,
		startsQueued: count,
		orphansSwept: count,
		groups: z.array(groupTold).readonly(),
		servers: z.array(serverTold).readonly(),
	})
	.meta({ id: 'Status' });
export type StatusTold = z.output<typeof statusTold>;

export const lineTold = z
	.object({
		at: z.string().describe('When; of a container that is over, when it ended.'),
		server: z.string(),
		instance: z.string(),
		text: z.string(),
	})
	.meta({ id: 'LogLine', description: 'A line that a server wrote on stderr, without the values of secrets.' });
export type LineTold = z.output<typeof lineTold>;
export const linesTold = z.object({ lines: z.array(lineTold).readonly() });

export const sessionsTold = z.object({
	sessions: z
		.array(
			z
				.object({
					session: z.string().describe('The beginning of the hash of its id, as the audit has it.'),
					principal: z.string(),
					endpoint: z.string().describe('The name of a server, or the path of many as one.'),
					revision: z.string().optional(),
					createdAt: z.string(),
					idleMs: count,
					inFlight: count,
					streams: count,
					awake: z.boolean().describe('Whether it has a container.'),
				})
				.meta({ id: 'Session' }),
		)
		.readonly(),
});

export const restartTold = z.object({
	server: z.string(),
	count: count.describe('Containers that end when their calls have.'),
});

export const metricsTold = z.string();
