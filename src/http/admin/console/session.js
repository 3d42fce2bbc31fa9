// Who is logged in, and what their role may do.

import { t } from "./texts.js";

const ROLES = ["read", "operate", "owner"];

export const session = {
  /** { who, role }, or nobody. */
  asker: null,
  /** What is deployed and the draft, as last heard. */
  app: null,

  may(role) {
    return !role || ROLES.indexOf(this.asker?.role) >= ROLES.indexOf(role);
  },

  /** Why this needs more than the role allows; `undefined` if it does not. */
  lacks(role) {
    return this.may(role) ? undefined : t.lacks(role, this.asker?.role);
  },
};
