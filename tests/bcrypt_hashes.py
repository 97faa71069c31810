"""Hashes that no event may carry: those that bcrypt refuses, and those that it would compute for too long."""

from __future__ import annotations

SALT = "abcdefghijklmnopqrstu."
DIGEST = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcde"
GOOD = f"$2b$12${SALT}{DIGEST}"

BAD = {
    "cost 3": f"$2b$03${SALT}{DIGEST}",
    "cost 15": f"$2b$15${SALT}{DIGEST}",
    "cost 19": f"$2b$19${SALT}{DIGEST}",
    "cost 31": f"$2b$31${SALT}{DIGEST}",
    "cost 32": f"$2b$32${SALT}{DIGEST}",
    "a cost of one digit": f"$2b$9${SALT}{DIGEST}.",
    "no letter": f"$2$12${SALT}{DIGEST}.",
    "another letter": f"$2x$12${SALT}{DIGEST}",
    "a salt of half a byte more": f"$2b$12${SALT[:-1]}v{DIGEST}",
    "a salt in another alphabet": f"$2b$12$-{SALT[1:]}{DIGEST}",
    "a digest in another alphabet": f"$2b$12${SALT}{DIGEST[:-1]}=",
    "not ASCII": f"$2b$12${SALT}é{DIGEST[1:]}",
    "too short": GOOD[:-1],
    "too long": f"{GOOD}a",
    "a line end": f"{GOOD}\n",
    "another scheme": "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub",
    "nothing": "",
}
