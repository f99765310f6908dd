/** One gateway at a time writes a chain: the lock is the operating system's, and ends with whoever holds it, however that ends. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Locks a folder. Returns the way to let it go. Throws where another process has it, or the folder cannot be written. */
export function lockFolder(folder: string): () => void {
	const database = new DatabaseSync(join(folder, 'gateway.lock'));
	try {
		database.exec('BEGIN EXCLUSIVE');
	} catch (error) {
		database.close();
		throw error;
	}
	return () => database.close();
}
