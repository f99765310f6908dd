/**
 * The routes of the admin API as data: what express serves and what /openapi.json says are made of the same table, so that
 * there is no route that is not in the document.
 */
import type { Express, Request, Response } from 'express';
import { z } from 'zod';
import { type ErrorCode, SlipwayError } from '../errors.ts';

/** One kind of answer that is no error. */
export interface Answer {
	readonly status: number;
	readonly says: string;
	/** Absent: it has no body. */
	readonly body?: { readonly type: string; readonly schema: z.ZodType };
}

/** What a handler gets. */
export interface Asked<Query> {
	readonly request: Request;
	/** For those that answer by themselves, or with another status than that of the first answer. */
	readonly response: Response;
	/** What stands in the path. */
	readonly params: Readonly<Record<string, string>>;
	readonly query: Query;
}

export interface ApiRoute {
	readonly method: 'get' | 'post' | 'delete';
	/** As OpenAPI writes it: `/api/keys/{name}`. */
	readonly path: string;
	readonly summary: string;
	/** Whether it is answered without a key: it is listed in open-paths.ts then. */
	readonly open?: true;
	readonly query?: z.ZodObject;
	/** What a handler reads by itself with readJsonBody. */
	readonly body?: z.ZodType;
	readonly answers: readonly [Answer, ...Answer[]];
	/** Those that are its own, beside those of the door. */
	readonly errors: readonly ErrorCode[];
	/** Resolves with the body of the answer, or with undefined where there is none or it was sent. */
	readonly handle: (asked: Asked<unknown>) => unknown;
}

interface JsonRoute<Told, Query> extends Omit<ApiRoute, 'query' | 'answers' | 'errors' | 'handle'> {
	readonly query?: z.ZodObject & z.ZodType<Query>;
	/** 200 where it is not said. */
	readonly status?: number;
	readonly says: string;
	readonly told: z.ZodType<Told>;
	/** Further kinds of answers. */
	readonly also?: readonly Answer[];
	readonly errors?: readonly ErrorCode[];
	readonly handle: (asked: Asked<Query>) => Told | undefined | Promise<Told | undefined>;
}

/** A route that answers in JSON, as its schema says. */
export function jsonRoute<Told, Query = object>({
	status = 200,
	says,
	told,
	also = [],
	errors = [],
	handle,
	...rest
}: JsonRoute<Told, Query>): ApiRoute {
	const answer = { status, says, body: { type: 'application/json', schema: told } };
	// The query was parsed with the schema that says so.
	return { ...rest, answers: [answer, ...also], errors, handle: (asked) => handle(asked as Asked<Query>) };
}

/** Has express serve them, in their order. What it is asked beside them goes on. */
export function mount(app: Express, routes: readonly ApiRoute[]): void {
	for (const { method, path, query = z.object({}), answers, handle } of routes) {
		app[method](path.replace(/\{(\w+)\}/g, ':$1'), async (request, response) => {
			const parsed = query.safeParse(request.query);
			if (!parsed.success) throw new SlipwayError('SLIPWAY_PARAMS_INVALID', { reason: explain(parsed.error) });
			response.status(answers[0].status);
			const params = request.params as Record<string, string>;
			const body = await handle({ request, response, params, query: parsed.data });
			if (body !== undefined) response.json(body);
			else if (answers[0].body === undefined) response.end();
		});
	}
}

/** Whether there is one at that path, with whatever method. */
export function isRoute(routes: readonly ApiRoute[], path: string): boolean {
	return routes.some((route) => new RegExp(`^${route.path.replace(/\{\w+\}/g, '[^/]+')}/?$`).test(path));
}

function explain({ issues }: z.ZodError): string {
	return issues.map(({ path, message }) => `\`${path.join('.')}\`: ${message}`).join('; ');
}
