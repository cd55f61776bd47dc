"""Every directive of an ssh_config: honoured, refused by file and line, or without effect here (pure)."""

from __future__ import annotations

HONOURED = {
    "host": "Host",
    "match": "Match",
    "include": "Include",
    "hostname": "HostName",
    "port": "Port",
    "user": "User",
    "addressfamily": "AddressFamily",
    "identityfile": "IdentityFile",
    "certificatefile": "CertificateFile",
    "identitiesonly": "IdentitiesOnly",
    "identityagent": "IdentityAgent",
    "proxyjump": "ProxyJump",
    "hostkeyalias": "HostKeyAlias",
    "userknownhostsfile": "UserKnownHostsFile",
    "globalknownhostsfile": "GlobalKnownHostsFile",
    "ciphers": "Ciphers",
    "macs": "MACs",
    "kexalgorithms": "KexAlgorithms",
    "hostkeyalgorithms": "HostKeyAlgorithms",
    "ignoreunknown": "IgnoreUnknown",
}
"""Directives with the same effect as in ssh, by their names in lower case."""

_OFF = "no|false"
_NONE = "none"
_ALWAYS_REFUSED = "(?!)"

ONLY = {
    "proxycommand": ("ProxyCommand", _NONE),
    "proxyusefdpass": ("ProxyUseFdpass", _OFF),
    "bindaddress": ("BindAddress", _ALWAYS_REFUSED),
    "bindinterface": ("BindInterface", _ALWAYS_REFUSED),
    "canonicalizehostname": ("CanonicalizeHostname", _OFF),
    "checkhostip": ("CheckHostIP", _OFF),
    "nohostauthenticationforlocalhost": ("NoHostAuthenticationForLocalhost", _OFF),
    "knownhostscommand": ("KnownHostsCommand", _NONE),
    "revokedhostkeys": ("RevokedHostKeys", _NONE),
    "pkcs11provider": ("PKCS11Provider", _NONE),
    "smartcarddevice": ("SmartcardDevice", _NONE),
    "pubkeyauthentication": ("PubkeyAuthentication", "yes|true|unbound|host-bound"),
    "preferredauthentications": ("PreferredAuthentications", "(.*,)?publickey(,.*)?"),
    "pubkeyacceptedalgorithms": ("PubkeyAcceptedAlgorithms", r"\+.*"),
    "pubkeyacceptedkeytypes": ("PubkeyAcceptedKeyTypes", r"\+.*"),
    "refuseconnection": ("RefuseConnection", _ALWAYS_REFUSED),
    "requiredrsasize": ("RequiredRSASize", _ALWAYS_REFUSED),
}
"""Unsupported directives that change the connection, each with its harmless values."""

WITHOUT_EFFECT = {
    "a run prints its own messages": (
        "EscapeChar EnableEscapeCommandline FingerprintHash LogLevel LogVerbose SyslogFacility VisualHostKey "
        "VersionAddendum WarnWeakCrypto"
    ),
    "ssh.connect_timeout_s and ssh.keepalive_s of the target file count": (
        "ChannelTimeout ConnectTimeout ConnectionAttempts ServerAliveCountMax ServerAliveInterval TCPKeepAlive "
        "ProtocolKeepAlives SetupTimeOut"
    ),
    "every run has its own connection, without compression": (
        "Compression CompressionLevel ControlMaster ControlPath ControlPersist IPQoS ObscureKeystrokeTiming "
        "RekeyLimit"
    ),
    "host keys are always checked strictly, and no file of keys is written": (
        "HashKnownHosts StrictHostKeyChecking UpdateHostKeys VerifyHostKeyDNS"
    ),
    "only keys are offered": (
        "AddKeysToAgent BatchMode ChallengeResponseAuthentication EnableSSHKeysign FallBackToRsh "
        "GSSAPIAuthentication GSSAPIClientIdentity GSSAPIDelegateCredentials GSSAPIKexAlgorithms GSSAPIKeyExchange "
        "GSSAPIRenewalForcesRekey GSSAPIServerIdentity GSSAPITrustDns HostbasedAcceptedAlgorithms "
        "HostbasedAuthentication HostbasedKeyTypes KbdInteractiveAuthentication KbdInteractiveDevices "
        "KeepAlive KerberosAuthentication KerberosTgtPassing NumberOfPasswordPrompts PasswordAuthentication "
        "RSAAuthentication RhostsAuthentication RhostsRSAAuthentication SecurityKeyProvider "
        "SkeyAuthentication TISAuthentication"
    ),
    "canonical names are not looked up, as CanonicalizeHostname is refused": (
        "CanonicalDomains CanonicalizeFallbackLocal CanonicalizeMaxDots CanonicalizePermittedCNAMEs"
    ),
    "host certificates are not supported": "CASignatureAlgorithms",
    "a run has no terminal, forwards nothing, sends no environment and starts no other command": (
        "ClearAllForwardings DynamicForward ExitOnForwardFailure ForkAfterAuthentication ForwardAgent ForwardX11 "
        "ForwardX11Timeout ForwardX11Trusted GatewayPorts LocalCommand LocalForward PermitLocalCommand "
        "PermitRemoteOpen RemoteCommand RemoteForward RequestTTY SendEnv SessionType SetEnv StdinNull "
        "StreamLocalBindMask StreamLocalBindUnlink Tunnel TunnelDevice XAuthLocation"
    ),
    "`Match tagged` is refused where it counts": "Tag",
    "OpenSSH itself has given it up": (
        "AFSTokenPassing Cipher GlobalKnownHostsFile2 Protocol UsePrivilegedPort UseRoaming UseRsh "
        "UserKnownHostsFile2 UseBlacklistedKeys"
    ),
}
"""Directives without effect here, by the reason."""

IGNORED = {name.lower(): name for names in WITHOUT_EFFECT.values() for name in names.split()}

OTHER_NAMES = {"identityfile2": "identityfile", "dsaauthentication": "pubkeyauthentication"}
"""Older names of directives."""
