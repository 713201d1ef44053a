"""The workloads of the study: what is installed, what is put beside it, and what runs. How it is found out that a
workload is ready stands in spec.yaml."""

import dataclasses

PYTHON_APP = """\
import flask

app = flask.Flask(__name__)


@app.route("/")
def index():
    return "hello\\n"


app.run(host="127.0.0.1", port=18101)
"""

NGINX_SITE = """\
server {
    listen 127.0.0.1:18102;
    root /var/www/html;
}
"""

JAVA_APP = """\
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Service {
    public static void main(String[] arguments) throws Exception {
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", 18104), 0);
        server.createContext("/", exchange -> {
            var answer = "hello\\n".getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.start();
    }
}
"""

C_PROGRAM = """\
#include <stdio.h>

int main(void) {
    puts("hello");
    return 0;
}
"""

NODE_APP = """\
require("http").createServer((request, response) => response.end("hello\\n")).listen(18106, "127.0.0.1");
"""


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    packages: list  # the second layer, on the base that all share
    command: list
    before: str = ""  # shell commands in the root file system: before the packages,
    files: dict = dataclasses.field(default_factory=dict)  # the third layer: these files,
    script: str = ""  # and what these commands do
    user: str = ""  # whose numbers the image names
    env: list = dataclasses.field(default_factory=list)


WORKLOADS = [
    Workload("python", ["python3", "python3-flask"], ["python3", "/srv/app.py"], files={"/srv/app.py": PYTHON_APP}),
    Workload("nginx", ["nginx"], ["nginx", "-g", "daemon off;"],
             files={"/etc/nginx/sites-available/default": NGINX_SITE}),
    Workload("postgres", ["postgresql-15"],
             ["/usr/lib/postgresql/15/bin/postgres", "-D", "/data", "-c", "port=18103",
              "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=/tmp"],
             before="mkdir -p /etc/postgresql-common; "
                    "echo create_main_cluster = false > /etc/postgresql-common/createcluster.conf",
             script="install -d -m 700 -o postgres -g postgres /data; su postgres -c "
                    "'/usr/lib/postgresql/15/bin/initdb --locale C.UTF-8 -D /data'", user="postgres"),
    Workload("java", ["openjdk-17-jre-headless"], ["java", "-cp", "/srv", "Service"],
             files={"/srv/Service.java": JAVA_APP},
             script="java -m jdk.compiler/com.sun.tools.javac.Main -d /srv /srv/Service.java"),
    Workload("compiler", ["gcc", "libc6-dev"], ["sh", "-c", "gcc -O2 -o /tmp/hello /srv/hello.c && exec /tmp/hello"],
             files={"/srv/hello.c": C_PROGRAM}),
    Workload("node", ["nodejs"], ["node", "/srv/app.js"], files={"/srv/app.js": NODE_APP}),
]
