"""nginx as a WebDAV server over TLS, with client certificates."""

from tests.system.services import packages, ports
from tests.system.services.ground import Endpoint, Ground
from tests.system.services.process import spawn, wait_until

NEEDS = ("pki",)
PACKAGES = (*packages.NGINX, *packages.PKI)


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """`url` is open to everybody, `private` only to whoever shows a certificate of the test authority (a plain one: an
    RFC proxy gets 400), `failing` answers 503 to everything, `slow` sends 1 MB/s. `folder` is what `url` shows."""
    folder = ground.folder("webdav")
    data = ground.make("webdav", "data")
    for part in ("private", "slow"):
        ground.make("webdav", "data", part)
    ground.make("webdav", "tmp")
    ground.make("webdav", "log")
    trust = ground.endpoint("pki")
    (port,) = ports.free()
    config = folder / "nginx.conf"
    config.write_text(f"""
load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/log/error.log;
events {{ worker_connections 512; }}
http {{
  access_log {folder}/log/access.log;
  client_body_temp_path {folder}/tmp/body; proxy_temp_path {folder}/tmp/proxy; fastcgi_temp_path {folder}/tmp/fastcgi;
  uwsgi_temp_path {folder}/tmp/uwsgi; scgi_temp_path {folder}/tmp/scgi;
  client_max_body_size 0;
  dav_ext_lock_zone zone=locks:1m;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {trust["host_cert"]}; ssl_certificate_key {trust["host_key"]};
    ssl_client_certificate {trust["ca"]}; ssl_verify_client optional; ssl_verify_depth 4;
    root {data};
    dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK; dav_ext_lock zone=locks;
    create_full_put_path on; dav_access user:rw group:r all:r; autoindex on;
    location / {{ }}
    location /private/ {{ if ($ssl_client_verify != SUCCESS) {{ return 403; }} }}
    location /failing/ {{ return 503; }}
    location /slow/ {{ limit_rate 1m; }}
  }}
}}
""")
    server = spawn(folder, ["nginx", "-c", config, "-p", folder, "-e", folder / "log" / "error.log"])
    wait_until(folder, lambda: ports.answers(port), "nginx", server)
    url = f"https://localhost:{port}"
    return {
        "url": url,
        "davs": f"davs://localhost:{port}",
        "private": f"{url}/private",
        "failing": f"{url}/failing",
        "slow": f"{url}/slow",
        "port": port,
        "folder": str(data),
        "ca": trust["ca"],
        "cert": trust["user_cert"],
        "key": trust["user_key"],
    }
