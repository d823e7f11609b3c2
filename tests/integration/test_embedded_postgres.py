"""What the embedded Postgres promises, whoever starts it and whatever was killed before."""


from thunderline.db.pool import Database


def test_a_fresh_database_has_both_tenants(database: Database) -> None:
    with database.system() as connection:
        found = connection.execute("select tenant_id from tl.tenant_record order by 1").fetchall()
    assert found == [("default",), ("other",)]
