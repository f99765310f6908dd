/** Every route of a gateway, from its routers themselves: what Express was given, and the paths of the listener. */
import { join } from 'node:path/posix';
import type { TestContext } from 'node:test';
import express from 'express';
import { ENDPOINTS } from '../../src/http/listener.ts';

/** As Express has them; `methods` is filled as handlers are added. */
interface Route {
	readonly path: string;
	readonly methods: Readonly<Record<string, boolean>>;
}

interface Given {
	readonly router: unknown;
	readonly path: string;
	/** A route, or what was mounted there. */
	readonly what: Route | object;
}

export interface KnownRoute {
	/** In capitals; none for what was mounted, and may answer to any. */
	readonly methods: readonly string[];
	/** With names in the place of parameters. */
	readonly path: string;
}

/** Takes down what routers are given from now on. The result is complete when the gateway was made. */
export function recordRoutes(t: TestContext): () => readonly KnownRoute[] {
	const given: Given[] = [];
	const prototype = express.Router.prototype as {
		route(path: string): Route;
		use(...args: readonly unknown[]): unknown;
	};
	const { route, use } = prototype;
	t.mock.method(prototype, 'route', function (this: unknown, path: string): Route {
		const made = route.call(this as typeof prototype, path);
		given.push({ router: this, path, what: made });
		return made;
	});
	t.mock.method(prototype, 'use', function (this: unknown, ...args: readonly unknown[]): unknown {
		const [path, ...mounted] = typeof args[0] === 'function' ? ['/', ...args] : args;
		for (const what of mounted) given.push({ router: this, path: String(path), what: Object(what) });
		return use.apply(this as typeof prototype, [...args]);
	});
	const prefixOf = (router: unknown): string => {
		const mount = given.find(({ what }) => what === router);
		return mount === undefined ? '/' : join(prefixOf(mount.router), mount.path);
	};
	return () => {
		const isRouter = (what: object): boolean => given.some(({ router }) => router === what);
		return given
			.filter(({ path, what }) => !isRouter(what) && ('methods' in what || path !== '/'))
			.map(({ router, path, what }) => ({
				methods: 'methods' in what ? Object.keys(what.methods ?? {}).map((method) => method.toUpperCase()) : [],
				path: join(prefixOf(router), path)
					.replace(/:\w+/g, 'someone')
					.replace(/(?<=.)\/$/, ''),
			}));
	};
}

/** The paths of servers and groups, of a launcher that has the server `alpha` and the group `pair`. */
export const ENDPOINT_PATHS: readonly string[] = [
	'/mcp',
	'/groups/pair/mcp',
	'/servers/alpha',
	'/servers/alpha/',
	...Object.keys(ENDPOINTS).map((endpoint) => `/servers/alpha/${endpoint}`),
];
