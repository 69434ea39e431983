"""Makes the Rucio server's database; run by the environment that has the server, with RUCIO_HOME set."""

from rucio.db.sqla import util

util.build_database()
util.create_base_vo()
util.create_root_account()
