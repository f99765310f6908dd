/**
 * TLS of our own: the certificate and its key, and who signs the certificates of clients where they must have one. The
 * files are read again when they change, since certificates are replaced more often than gateways are.
 */
import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { Config } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import { HTTP_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';

/** What node:https takes. */
export interface ServerTls extends SecureContextOptions {
	readonly requestCert: boolean;
	readonly rejectUnauthorized: true;
	readonly handshakeTimeout: number;
	readonly ticketKeys: Buffer;
}

export class Certificates {
	readonly #files: NonNullable<Config['tls']>;
	readonly #log: Log;
	#follow: (() => void) | undefined;

	constructor(files: NonNullable<Config['tls']>, log: Log) {
		this.#files = files;
		this.#log = log;
	}

	/** What the files have now. Throws SLIPWAY_CONFIG_INVALID when they are not there, or do not go together. */
	read(): ServerTls {
		const { certFile, keyFile, clientCaFile } = this.#files;
		const ca = clientCaFile === undefined ? {} : { ca: readCertificates('SLIPWAY_TLS_CLIENT_CA_FILE', clientCaFile) };
		const key = readPem('SLIPWAY_TLS_KEY_FILE', keyFile);
		const context: SecureContextOptions = {
			cert: readCertificates('SLIPWAY_TLS_CERT_FILE', certFile),
			key,
			minVersion: 'TLSv1.2',
			...ca,
		};
		try {
			// An empty key would be none, and no reason for Node to say so.
			createPrivateKey(key);
			createSecureContext(context);
		} catch (cause) {
			throw invalid('The file of SLIPWAY_TLS_KEY_FILE is not the key of the certificate, in PEM.', cause);
		}
		return {
			...context,
			requestCert: clientCaFile !== undefined,
			// Who has no certificate that the CA signed gets no further than the handshake.
			rejectUnauthorized: true,
			handshakeTimeout: HTTP_LIMITS.headersTimeoutMs,
			// New ones each time: a session of before must not stand for a certificate that is taken no more.
			ticketKeys: randomBytes(48),
		};
	}

	/** Tells of every change that makes sense; what makes none is logged, and what was there before goes on. */
	follow(onChange: (tls: ServerTls) => void): void {
		this.#follow = () => {
			try {
				onChange(this.read());
				this.#log.info('certificate read again');
			} catch (error) {
				const reason = error instanceof SlipwayError ? error.message : '';
				this.#log.error('certificate cannot be read; the one before is used', { reason });
			}
		};
		for (const file of this.#paths()) watchFile(file, { interval: HTTP_LIMITS.certificatePollMs }, this.#follow);
	}

	stop(): void {
		for (const file of this.#paths()) if (this.#follow !== undefined) unwatchFile(file, this.#follow);
	}

	#paths(): string[] {
		const { certFile, keyFile, clientCaFile } = this.#files;
		return [certFile, keyFile, ...(clientCaFile === undefined ? [] : [clientCaFile])];
	}
}

/** Node takes an empty file of a CA for all the CAs that there are, and serves an empty certificate as none. */
function readCertificates(setting: string, path: string): string {
	const pem = readPem(setting, path);
	try {
		new X509Certificate(pem);
	} catch (cause) {
		throw invalid(`The file of ${setting} is no certificate in PEM.`, cause);
	}
	return pem;
}

function readPem(setting: string, path: string): string {
	try {
		return readFileSync(path, 'utf8');
	} catch (cause) {
		throw invalid(`${setting} cannot be read: it must exist and be readable for user 10001.`, cause);
	}
}

function invalid(reason: string, cause: unknown): SlipwayError {
	return new SlipwayError('SLIPWAY_CONFIG_INVALID', { reason }, { cause });
}
