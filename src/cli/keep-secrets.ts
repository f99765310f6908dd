/** Values that came with a command line or a configuration, put where the launcher finds them. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import { hasSealingKey, writeSealed } from '../secrets/sealed-store.ts';
import { findSecret } from '../secrets/sources.ts';
import { audited } from './audited.ts';
import type { Invocation } from './invocation.ts';

export interface SecretValue {
	readonly name: string;
	readonly value: string;
}

/** The settings as if those values were kept already, so that a server can be tried with them before they are. */
export function withSecrets(config: Config, values: readonly SecretValue[]): Config {
	const environment = new Map(config.secrets.environment);
	for (const { name, value } of values) environment.set(name, { value });
	return { ...config, secrets: { ...config.secrets, environment } };
}

/** The names of those that are kept already with another value. */
export function findClashes({ secrets }: Config, values: readonly SecretValue[]): string[] {
	return values
		.filter(({ name, value }) => {
			const finding = findSecret(secrets, name);
			return finding.kind === 'unusable' || (finding.kind === 'found' && finding.value.toString('utf8') !== value);
		})
		.map(({ name }) => name);
}

/** Where values are kept: for people. */
export function placeOf({ secrets: { keyFile, folders, storeDir } }: Config): string {
	return hasSealingKey(keyFile) ? `the encrypted store (${storeDir})` : `files in ${folders[0] ?? storeDir}`;
}

/**
 * Keeps values: in the encrypted store where that has a key, and else as files that nobody but their owner may read.
 *
 * @throws SlipwayError SLIPWAY_SECRET_INVALID, SLIPWAY_CONFIG_INVALID, SLIPWAY_AUDIT_FAILED
 * @returns whether all of it is in the audit
 */
export async function keepSecrets(
	values: readonly SecretValue[],
	{ config, invocation }: { readonly config: Config; readonly invocation: Invocation },
): Promise<boolean> {
	const { storeDir, keyFile, folders } = config.secrets;
	let isRecorded = true;
	for (const { name, value } of values) {
		const record = async (run: () => void): Promise<void> => {
			const describe = () => ({ act: 'set', secret: name });
			const { recorded } = await invocation.asOwner(() => audited(config, { event: 'secret', describe, run }));
			isRecorded &&= recorded;
		};
		if (hasSealingKey(keyFile)) {
			await record(() => writeSealed({ folder: storeDir, keyFile }, name, Buffer.from(value)));
			continue;
		}
		const [folder] = folders;
		if (folder === undefined)
			throw new SlipwayError('SLIPWAY_CONFIG_INVALID', { reason: 'SLIPWAY_SECRETS_DIR names no folder.' });
		// As whoever runs this, whose folder it is; only the audit belongs to somebody else.
		const forget = writeFile(folder, name, value);
		try {
			await record(() => undefined);
		} catch (error) {
			forget();
			throw error;
		}
	}
	return isRecorded;
}

/** Whole or not at all. Returns the way to undo it. */
function writeFile(folder: string, name: string, value: string): () => void {
	const path = join(folder, name);
	const draft = `${path}.${randomUUID()}`;
	try {
		mkdirSync(folder, { recursive: true, mode: 0o700 });
		writeFileSync(draft, value, { flag: 'wx', mode: 0o600, flush: true });
		renameSync(draft, path);
	} catch (cause) {
		rmSync(draft, { force: true });
		const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
		const reason = `The folder ${folder} of SLIPWAY_SECRETS_DIR cannot be written (${code}).`;
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', { reason }, { cause });
	}
	return () => rmSync(path, { force: true });
}
