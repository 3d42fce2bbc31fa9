// The unmodified realm-web, with a storage of its own for each app: one process plays several devices.

import Realm from "realm-web";

const { App, getEnvironment, setEnvironment } = Realm;
export const { Credentials, MongoDBRealmError } = Realm;

/** What a page reload, a second app on the device or a new process finds again: the SDK's own storage, in memory. */
const MemoryStorage = getEnvironment().defaultStorage.constructor;
export const newStorage = () => new MemoryStorage();

/**
 * An app on a storage of its own. The storage is put in as the environment's default, where a browser has its
 * localStorage, and not into the configuration: that is to be the id and the base URL and nothing else.
 */
export function newApp(baseUrl, storage = newStorage(), id = "passerby") {
  setEnvironment({ ...getEnvironment(), defaultStorage: storage });
  return new App({ id, baseUrl });
}

/** Changes a stored token, behind the back of any app that has already read it. */
export function store(storage, user, key, value) {
  storage.set(`app(passerby):user(${user.id}):${key}`, value);
}
