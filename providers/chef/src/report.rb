# Written by towpath: says in JSON which resources a run of Chef has updated. It holds no attributes and no contents.
require "json"
require "chef/handler" unless defined?(Chef::Handler)

class TowpathReport < Chef::Handler
  def initialize(path)
    @path = path
  end

  def report
    status = run_status
    error = status.exception
    document = {
      "format" => 1,
      "success" => status.success?,
      "total" => (status.all_resources || []).count,
      "updated" => (status.updated_resources || []).map { |resource| describe(resource) },
      "failed" => failed(status).map { |resource| describe(resource) },
      "exception" => error && { "class" => text(error.class.name), "message" => text(error.message), "trace" => Array(error.backtrace).first(50).map { |line| text(line) } }
    }
    File.open(@path + ".new", File::WRONLY | File::CREAT | File::TRUNC, 0600) { |file| file.write(JSON.generate(document)) }
    File.rename(@path + ".new", @path)
  end

  private

  # Chef 15 and later know which resources failed.
  def failed(status)
    status.exception && respond_to?(:failed_resources) ? failed_resources : []
  rescue StandardError
    []
  end

  def describe(resource)
    {
      "type" => text(resource.declared_type || resource.resource_name),
      "name" => text(resource.name),
      "action" => Array(resource.action).map { |action| text(action) },
      "cookbook" => text(resource.cookbook_name),
      "recipe" => text(resource.recipe_name),
      "line" => text(resource.source_line)
    }
  end

  def text(value)
    value && value.to_s.dup.force_encoding("UTF-8").scrub("?")
  end
end
