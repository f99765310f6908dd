/**
 * A secret on a disk: AES-256-GCM with a nonce of its own each time, and the name as associated data, so that the sealed
 * value of one name is not that of another.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** The form that follows, so that a later one can be told from it. */
const HEAD = Buffer.from('slipway sealed 1\n');

/** What sealing adds to a value. */
export const SEAL_BYTES = HEAD.length + NONCE_BYTES + TAG_BYTES;

/** The key in the text of a key file: 32 bytes as 64 hexadecimal digits. Undefined when it is none. */
export function parseSealingKey(text: string): Buffer | undefined {
	const digits = text.trim();
	return /^[0-9a-f]{64}$/i.test(digits) ? Buffer.from(digits, 'hex') : undefined;
}

export function seal(key: Buffer, name: string, value: Buffer): Buffer {
	const nonce = randomBytes(NONCE_BYTES);
	const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(associated(name));
	return Buffer.concat([HEAD, nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
}

/** The value that was sealed under that name with that key; undefined when these bytes are not it. */
export function unseal(key: Buffer, name: string, sealed: Buffer): Buffer | undefined {
	if (sealed.length < SEAL_BYTES || !sealed.subarray(0, HEAD.length).equals(HEAD)) return undefined;
	const nonce = sealed.subarray(HEAD.length, HEAD.length + NONCE_BYTES);
	const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
		.setAAD(associated(name))
		.setAuthTag(sealed.subarray(-TAG_BYTES));
	try {
		return Buffer.concat([decipher.update(sealed.subarray(HEAD.length + NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
	} catch {
		return undefined;
	}
}

function associated(name: string): Buffer {
	return Buffer.concat([HEAD, Buffer.from(name)]);
}
