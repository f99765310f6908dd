/** What Slipway itself needs: its catalog, what that names, its folder, and a gateway that answers. */
import { statfs } from 'node:fs/promises';
import { request } from 'node:http';
import { request as requestByTls } from 'node:https';
import { buffer } from 'node:stream/consumers';
import type { Catalog, Server } from '../../catalog/catalog.ts';
import { loadCatalog } from '../../catalog/load.ts';
import { lockKey } from '../../catalog/lock.ts';
import type { Config } from '../../config.ts';
import type { Engine } from '../../docker/engine.ts';
import { inspectImage } from '../../docker/images.ts';
import { listPackages } from '../../docker/package-image.ts';
import { toSlipwayError } from '../../errors.ts';
import { describeSource } from '../../launcher/preparations.ts';
import { CLI_LIMITS } from '../../limits.ts';
import { isObject, own } from '../../mcp/jsonrpc.ts';
import { findSecret } from '../../secrets/sources.ts';
import type { Invocation } from '../invocation.ts';
import { howToKeep } from '../trial-hints.ts';
import { broken, type Finding, ok, warning } from './finding.ts';
import { judgeFree } from './launch.ts';

/** The catalog, and what is found of it; of one that is wrong there is no more to look at. */
export async function checkCatalog(
	{ catalogPath }: Config,
	environment: Invocation['environment'],
): Promise<{ readonly catalog: Catalog | undefined; readonly finding: Finding }> {
	try {
		const catalog = await loadCatalog(catalogPath, environment);
		const enabled = [...catalog.servers.values()].filter((server) => server.enabled).length;
		return { catalog, finding: ok('catalog', `${catalog.servers.size} servers, ${enabled} of them enabled`) };
	} catch (error) {
		const { message, details, row } = toSlipwayError(error);
		const why = 'A launcher that runs keeps the last good catalog; one that starts does not start.';
		const finding = broken('catalog', details.reason ?? message, { why, fix: row.nextStep });
		return { catalog: undefined, finding };
	}
}

/** Servers that cannot start for want of a secret. */
export function checkSecrets(catalog: Catalog, { secrets }: Config): Finding[] {
	const flaws: Finding[] = [];
	let count = 0;
	for (const server of enabledIn(catalog)) {
		for (const { name } of server.secrets) {
			count += 1;
			// A file of another program's has the values in it.
			if (catalog.secretValues.has(name)) continue;
			const finding = findSecret(secrets, name);
			const why = `${server.name} does not start without it.`;
			if (finding.kind === 'missing')
				flaws.push(broken('secrets', `"${name}" is missing`, { why, fix: howToKeep(name) }));
			if (finding.kind === 'unusable')
				flaws.push(broken('secrets', finding.reason, { why, fix: 'docs/secrets.md says what a secret may be.' }));
		}
	}
	return flaws.length > 0 ? flaws : [ok('secrets', count === 0 ? 'none are needed' : `all ${count} are there`)];
}

/** Images that are not there. */
export async function checkImages(catalog: Catalog, engine: Engine): Promise<Finding> {
	const packages = await listPackages(engine);
	const missing: string[] = [];
	const servers = enabledIn(catalog);
	for (const { name, source } of servers) {
		const isThere =
			source.kind === 'image'
				? (await inspectImage(engine, source.reference)) !== undefined
				: packages.has(lockKey(source) ?? '');
		if (!isThere) missing.push(`${name} (${describeSource(source)})`);
	}
	if (missing.length === 0) return ok('images', `those of all ${servers.length} enabled servers are there`);
	return warning('images', `not prepared: ${missing.join(', ')}`, {
		why: 'A first call waits until the image is there. It is on its way while a launcher runs, or it failed.',
		fix: 'docker compose logs launcher tells which, and why.',
	});
}

export async function checkDataDisk({ dataDir }: Config): Promise<Finding> {
	try {
		const { bavail, bsize } = await statfs(dataDir);
		return judgeFree(`the disk of ${dataDir}`, bavail * bsize);
	} catch {
		return warning('data', `there is no folder ${dataDir} yet`, {
			why: 'Keys, sessions and the audit are kept in it. The gateway makes it when it starts first.',
			fix: 'Start the gateway, or correct SLIPWAY_DATA.',
		});
	}
}

/** Whether a gateway answers, and could serve a call. */
export async function checkGateway({ gateway, publicUrl }: Config): Promise<Finding> {
	const options = { headers: { host: gateway.host }, timeout: CLI_LIMITS.doctorRequestTimeoutMs };
	const url = `${gateway.url}/ready`;
	// It is told nothing, so that whose certificate it has does not matter here.
	const answer = await ask(
		url.startsWith('https:') ? requestByTls(url, { ...options, rejectUnauthorized: false }) : request(url, options),
	);
	if (answer === undefined)
		return warning('gateway', `nothing answers at ${gateway.url}`, {
			why: 'Clients reach no server, unless the gateway is on another port or machine.',
			fix: 'docker compose up -d --wait; docker compose logs gateway tells why it ended. SLIPWAY_URL says where it is.',
		});
	if (answer.status === 200) return ok('gateway', `ready at ${publicUrl}`);
	return broken('gateway', `it answers ${answer.status}: ${answer.checks}`, {
		why: 'It lives, but no call would succeed now.',
		fix: 'docker compose ps, and docker compose logs launcher gateway.',
	});
}

async function ask(outgoing: ReturnType<typeof request>): Promise<{ status: number; checks: string } | undefined> {
	const { promise, resolve } = Promise.withResolvers<{ status: number; checks: string } | undefined>();
	outgoing.on('response', (response) => {
		buffer(response).then(
			(body) => resolve({ status: response.statusCode ?? 0, checks: checksIn(body.toString('utf8')) }),
			() => resolve(undefined),
		);
	});
	outgoing.on('timeout', () => outgoing.destroy());
	outgoing.on('error', () => resolve(undefined));
	outgoing.end();
	return promise;
}

/** What of it is not well, as far as the answer tells. */
function checksIn(body: string): string {
	try {
		const value: unknown = JSON.parse(body);
		const checks = isObject(value) ? own(value, 'checks') : undefined;
		if (isObject(checks)) return JSON.stringify(checks).slice(0, CLI_LIMITS.describedCharsMax);
	} catch {
		return 'no gateway of Slipway';
	}
	return 'no gateway of Slipway';
}

function enabledIn(catalog: Catalog): Server[] {
	return [...catalog.servers.values()].filter((server) => server.enabled);
}
