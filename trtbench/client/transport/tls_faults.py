"""What is wrong when TLS fails: the server's certificate, or an alert by which the server refuses the client."""

from __future__ import annotations

import ssl

from trtbench.client.wire import Spoken
from trtbench.scenario.load.client_settings import Tls
from trtbench.system.foreign_text import shown

CERTIFICATE_KEYS = "--tls-cert and --tls-key (client.tls.certificate, client.tls.key)"


def certificate_fault(error: ssl.SSLCertVerificationError, name: str) -> str:
    """What is wrong with the server's certificate, by the codes of OpenSSL's x509_vfy.h."""
    start = f"the server's certificate is not trusted ({shown(error.verify_message, 200)})"
    if error.verify_code == 10:
        return f"{start}: it has expired; renew it on the server (the clock of this machine is the other possible cause)"
    if error.verify_code == 9:
        return f"{start}: it is not valid yet; correct the certificate or this machine's clock"
    if error.verify_code in (62, 63, 64):
        return f"{start}: it is for another name than {shown(name)}; give that name as --tls-server-name (client.tls.server_name)"
    if error.verify_code in (18, 19):
        return f"{start}: it is self-signed; give the certificate of its authority (or itself) as --tls-ca (client.tls.ca)"
    if error.verify_code in (2, 20, 21):
        return f"{start}: its authority is unknown here; give the authority's certificate as --tls-ca (client.tls.ca)"
    return f"{start}: give the authority's certificate as --tls-ca (client.tls.ca), or renew the server's"


def alert_fault(reason: str, tls: Tls, spoken: Spoken) -> str:
    """What an alert of TLS from the server means; empty for any other reason."""
    if "CERTIFICATE_REQUIRED" in reason or ("HANDSHAKE_FAILURE" in reason and tls.certificate is None):
        return f"the server requires a client certificate ({reason}): give {CERTIFICATE_KEYS}"
    if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")):
        return f"the server does not accept the client certificate ({reason}): give one that it trusts as {CERTIFICATE_KEYS}"
    if "NO_APPLICATION_PROTOCOL" in reason:
        return f"the server speaks TLS but not {spoken.version} ({reason}), so it is not a server of {spoken.service}: {spoken.port}"
    if "PROTOCOL_VERSION" in reason:
        return f"the server supports no version of TLS that this machine supports ({reason}): allow TLS 1.2 or 1.3 on the server"
    return f"the server refused the TLS handshake ({reason})" if "ALERT" in reason else ""
