/** Certificates of a CA of the test's own, made by openssl, in a folder that goes with the test. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** A certificate and its key: where they are, and what is in them. */
export interface Pair {
	readonly certFile: string;
	readonly keyFile: string;
	readonly cert: string;
	readonly key: string;
}

export class CertificateAuthority {
	readonly #folder: string;
	readonly #name: string;
	readonly own: Pair;

	private constructor(folder: string, name: string, own: Pair) {
		this.#folder = folder;
		this.#name = name;
		this.own = own;
	}

	static async make(t: TestContext, name = 'ca'): Promise<CertificateAuthority> {
		const folder = await mkdtemp(join(tmpdir(), 'slipway-certificates-'));
		t.after(() => rm(folder, { recursive: true }));
		return new CertificateAuthority(folder, name, await request(folder, name, []));
	}

	/** A certificate for this machine that is signed by this CA. */
	sign(name: string): Promise<Pair> {
		const { certFile, keyFile } = this.own;
		const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
		return request(this.#folder, `${this.#name}-${name}`, ['-CA', certFile, '-CAkey', keyFile, '-addext', names]);
	}
}

async function request(folder: string, name: string, more: readonly string[]): Promise<Pair> {
	const [certFile, keyFile] = [join(folder, `${name}.pem`), join(folder, `${name}-key.pem`)];
	const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
	const files = ['-keyout', keyFile, '-out', certFile, '-subj', `/CN=${name}`];
	execFileSync('openssl', ['req', '-x509', ...curve, ...files, ...more], { stdio: 'pipe' });
	return { certFile, keyFile, cert: await readFile(certFile, 'utf8'), key: await readFile(keyFile, 'utf8') };
}
