"""XRootD with authentication: roots:// and https:// by X.509 (proxies too) or by WLCG token."""

from pathlib import Path

from tests.system.services import packages, pki, ports
from tests.system.services.ground import Endpoint, Ground
from tests.system.services.xrootd import USER, client_env, common, laid_out, serve

NEEDS = ("pki", "oidc")
PACKAGES = packages.XROOTD

SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """Whoever shows neither the test user's certificate nor a token is refused. The library that checks tokens
    trusts the system's bundle of authorities only, so the server sees ours in its place, by a mount of its own."""
    folder = ground.folder("xrootd_tls")
    data = laid_out(ground, "xrootd_tls")
    trust, issuer = ground.endpoint("pki"), ground.endpoint("oidc")
    etc = folder / "etc"
    certificate, key = pki.lend(trust, etc, USER)
    (etc / "gridmap").write_text(f'"{trust["user_dn"]}" tester\n')
    (etc / "authdb").write_text("u tester /data a\n")
    (etc / "scitokens.cfg").write_text(
        f"[Global]\naudience = {issuer['audience']}\n"
        f"[Issuer test]\nissuer = {issuer['issuer']}\nbase_path = /data\ndefault_user = {USER}\n"
    )
    port, https = ports.free(2)
    gsi = f"-certdir:{trust['certificates']} -cert:{certificate} -key:{key} -gridmap:{etc}/gridmap -gmapopt:1 -crl:0"
    config = f"""
{common(folder, port)}
xrd.tls {certificate} {key}
xrd.tlsca certdir {trust["certificates"]}
xrootd.tls capable login
xrootd.seclib libXrdSec.so
sec.protocol gsi {gsi} -vomsat:0
sec.protocol ztn
sec.protbind * gsi ztn
ofs.authorize 1
acc.authdb {etc}/authdb
ofs.authlib ++ libXrdAccSciTokens.so config={etc}/scitokens.cfg
xrd.protocol http:{https} libXrdHttp.so
http.gridmap {etc}/gridmap
http.header2cgi Authorization authz
http.exthandler xrdtpc libXrdHttpTPC.so
tpc.timeout 30 60
all.sitename TEST
"""
    serve(ground, "xrootd_tls", config, port, https, private_mounts=((Path(trust["bundle"]), SYSTEM_BUNDLE),))
    return {
        "root": f"root://localhost:{port}//data",
        "roots": f"roots://localhost:{port}//data",
        "https": f"https://localhost:{https}/data",
        "davs": f"davs://localhost:{https}/data",
        "port": port,
        "https_port": https,
        "folder": str(data),
        "user": USER,
        "env": {**client_env(), "X509_CERT_DIR": trust["certificates"]},
        "env_proxy": {"X509_USER_PROXY": trust["proxy"]},
        "env_token": {"BEARER_TOKEN_FILE": issuer["token_file"]},
    }
