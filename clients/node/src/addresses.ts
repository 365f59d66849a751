import { errorOf } from "./error-of.js";
import { type ConnectOptions, DEFAULT_CONTROL } from "./options.js";

/** The addresses of the control API that an option names, each once, in its order. */
export function addressesOf(control: ConnectOptions["control"] = DEFAULT_CONTROL): string[] {
  const given = (typeof control === "string" ? [control] : control).flatMap((entry) => entry.split(","));
  const addresses = [...new Set(given.map((address) => address.trim()))];
  if (addresses.length > 0 && !addresses.includes("")) return addresses;
  throw errorOf("an address of the control API is empty", {
    code: "INVALID_ARGUMENT",
    metadata: {
      field: "control",
      value: String(control),
      allowed: "host:port or unix:/path, one or several",
    },
  });
}
